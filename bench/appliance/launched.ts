import type { Table } from "../bench.ts";
import { sh, torporCommand } from "./shell.ts";

/**
 * Both services of the merged tree in one container, whose only way out is our stack: a kernel of its own, beyond a TUN
 * interface, asks them.
 */
export function launched(folder: string): Table {
  const launch = torporCommand("appliance launch both both.diff --container --json");
  const said = sh(
    folder,
    `cat >launch.sh <<'END'
ip link set lo up
ip tuntap add tor0 mode tun
ip address add 10.7.0.2/24 dev tor0
ip link set tor0 up
${launch} >events 2>output & launch=$!
asks() {
  for i in $(seq 300); do
    "$@" >answer 2>/dev/null && return 0
    kill -0 $launch 2>/dev/null || break
    sleep 0.1
  done
  cat events output >&2
  exit 1
}
asks curl -sf --max-time 5 http://10.7.0.10/
grep -o "Welcome to nginx!" answer | head -1
asks sh -c 'printf "PING\\r\\n" | nc -N -w 5 10.7.0.10 6379 | grep PONG'
tr -d '+\\r' <answer
printf 'SET key value\\r\\nGET key\\r\\n' | nc -N -w 5 10.7.0.10 6379 | tail -1 | tr -d '\\r'
kill -TERM $launch
wait $launch
echo "code $?"
grep -c '"stopped","killed":false' events
END
unshare --net bash -e launch.sh`,
  ).trim().split("\n");
  const [nginx, pong, value, code, stopped] = said;
  return {
    title: "both launched from the merged differential, and asked through our stack",
    columns: ["", ""],
    rows: [
      ["nginx says", nginx],
      ["redis says to PING", pong],
      ["and to GET, after SET", value],
      ["asked to end, the command ends with", code],
      ["programs that ended as they were asked", stopped],
    ],
    notes: ["torpor appliance launch both both.diff --container"],
  };
}
