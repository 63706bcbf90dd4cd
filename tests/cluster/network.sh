# The network of a job on 3 hosts fails: a link goes down, frames of one host are lost in one direction, 30 % of all are,
# they take 200 +- 100 ms, 1 Mbit/s is left, the link flaps. The job ends within 15 s and says who was lost, or it goes on;
# started again it has the bytes of an undisturbed run. 4 faults, with --long 40.
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
cases=4 test=cluster.network
[ "${1:-}" != --long ] || cases=40 test=cluster.network_long
cases=${GANDIST_CASES:-$cases}
use_seed 31 "$test"
lab_up 3
tiny_recipe tiny.yaml
job=(tiny.yaml --set numerics.shards=8 --set checkpoint.every=5 --set log.every=50 --set log.samples.every=1000000 --set watchdog.limit=20)
fatal=(down deaf) lasting=(loss delay rate flap)

has_ended() { ! kill -0 "$launcher" 2>/dev/null; }
seconds_pass() { # or it ends before
    local until=$((SECONDS + $1))
    while [ $SECONDS -lt $until ] && ! has_ended; do sleep 0.1; done
}
break_network() {
    local i
    case $1 in
        down) hosts cut "$2" ;;
        deaf) deaf "$2" ;;
        loss) hosts limit all --loss 16% ;; # each way of two cables: 30 % of all messages, 51 % of all answers
        delay) for i in 1 2 3; do hosts limit all --delay 50ms; seconds_pass 2; hosts limit all --delay 150ms; seconds_pass 2; done ;;
        rate) hosts limit all --rate 1mbit ;;
        flap) for i in 1 2 3 4; do hosts cut "$2"; seconds_pass 1; hosts heal "$2"; seconds_pass 1; done ;;
    esac
}
# Ended early: with the code of a lost host or of a hang, and somebody is named.
is_named() {
    checks=$((checks + 2))
    [[ " 205 86 1 137 " == *" $1 "* ]] || fail "$what: exit $1 :: $(tail -n 20 job.log)"
    grep -Eq "lost communication|Remote (daemon|host)|the job hangs: rank|node[0-9].*(abnormally|lost)|connection to .*node|process rank .* on node" job.log || fail "$what: nobody is named :: $(cat job.log)"
}

for ((i = 0; i < cases; i++)); do
    # Half of them go through the first list, half through the second, from a random place on.
    if ((i % 2)); then fault=${lasting[(offset + i / 2) % 4]}; else fault=${fatal[(i / 2) % 2]}; fi
    ((i)) || offset=$((RANDOM % 4))
    host=node$((1 + RANDOM % 3))
    what="case $i: $fault of $host"
    before=$(newest job)
    rm -f job/starts.json
    on_hosts 8 "${job[@]}" --out job --set train.steps=1000000 >job.log 2>&1 &
    launcher=$!
    for _ in $(seq 1 1200); do [ "$(newest job)" = "$before" ] || break; has_ended && break; sleep 0.05; done
    began=$(now_ms)
    break_network "$fault" "$host"
    if [[ " ${fatal[*]} " == *" $fault "* ]]; then
        seconds_pass 60
        took=$(($(now_ms) - began))
        checks=$((checks + 1)); ((took <= 15000)) || fail "$what: ended after $took ms"
    else
        seconds_pass 6
    fi
    heal_all
    if has_ended; then
        wait $launcher; code=$?
        is_named $code
        echo "$what: ended with $code after $(($(now_ms) - began)) ms"
    else
        touch job/stop
        seconds_pass 60
        has_ended || { fail "$what: neither ends nor goes on :: $(tail -n 5 job.log)"; kill -KILL $launcher; }
        wait $launcher; code=$?
        [ $code = 75 ] || is_named $code
        echo "$what: went on, then ended with $code"
    fi
    rm -f job/stop
    nothing_left "$what"
done
# A job that the network ended leaves its lock: its own host sees at once that nobody is there, others after 90 s.
run 0 from node1 "${job[@]}" --out job --steps $(($(newest job) + 1)) --set train.steps=1000000
ends_equal job "${job[@]}" --set train.steps=1000000
finish
