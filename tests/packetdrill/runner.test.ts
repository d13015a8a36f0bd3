import { expect, test } from "vitest";
import { judge, type JudgeOptions, type Outcome, showOutcome, summarize } from "./report.ts";

const PASSIVE = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 1000 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+.1 < . 1:1(0) ack 1 win 1000
+0 accept(3, ..., ...) = 4
`; // seven lines

function run(text: string, options: Partial<JudgeOptions> = {}): Outcome {
  return judge("test.pkt", text, { ip: "ipv4", strict: false, sleep: false, flags: [], ...options })!;
}

test("a failure is printed with file, line, the packet expected and the packet sent", () => {
  const outcome = run(`${PASSIVE}+0 write(4, ..., 10) = 10\n+0 > P. 1:10(9) ack 1`);
  expect(showOutcome(outcome)).toBe(
    "test.pkt:9: error handling packet: live packet payload: expected 9 bytes vs actual 10 bytes\n" +
      "script packet: 0.100000 P. 1:10(9) ack 1\n" +
      "actual packet: 0.100000 P. 1:11(10) ack 1 win 65535",
  );
  const other = run(`${PASSIVE}+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 2`);
  expect(other.message).toContain("live packet field tcp_ack_seq: expected: 2 (0x2) vs actual: 1 (0x1)");
});

test("a packet that never comes, and one that comes too early or too late", () => {
  expect(run(`${PASSIVE}+0 > P. 1:11(10) ack 1`)).toMatchObject({
    verdict: "failed",
    line: 8,
    message: "error handling packet: Timed out waiting for packet\nscript packet: 0.100000 P. 1:11(10) ack 1",
  });
  const late = run(`${PASSIVE}+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n+.2 > P. 1:11(10) ack 1`);
  expect(late).toMatchObject({ verdict: "failed", line: 10 });
  expect(late.message).toContain(
    "timing error: expected outbound packet at 0.300000 sec but happened at 0.400000 sec",
  );
  expect(run(`${PASSIVE}+0 write(4, ..., 10) = 10\n+.1 > P. 1:11(10) ack 1`).message).toContain(
    "timing error",
  );
});

test("times are as exact as packetdrill's: 4 ms, an eighth of the wait, or as the script says", () => {
  const probe = (time: string): string =>
    `${PASSIVE}+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n${time} > P. 1:11(10) ack 1`;
  // It comes after 300 ms.
  for (
    const [time, verdict] of [["+.3", "passed"], ["+.267", "passed"], ["+.266", "failed"], [
      "+.342",
      "passed",
    ], ["+.344", "failed"]]
  ) {
    expect(run(probe(time!)).verdict, time).toBe(verdict);
  }
  expect(run(probe("+.25~+.31")).verdict).toBe("passed");
  expect(run(probe("+.1~+.25")).verdict).toBe("failed");
  expect(run(probe("*")).verdict).toBe("passed");
  expect(run(`--tolerance_usecs=100000\n${probe("+.21")}`).verdict).toBe("passed");
});

test("segments that belong together make one packet, unless the script or the command line says no", () => {
  const text =
    `${PASSIVE}+.1 < . 1:1(0) ack 1 win 9000\n+0 write(4, ..., 2500) = 2500\n+0 > P. 1:2501(2500) ack 1`;
  expect(
    run(text.replace("+0 write", "+0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0\n+0 write")).verdict,
  ).toBe("passed");
  expect(run(`--strict_segments\n${text}`)).toMatchObject({ verdict: "failed", line: 11 });
});

test("a handshake that is reset is not there to be accepted", () => {
  const asks = `${PASSIVE.split("\n").slice(0, 5).join("\n")}\n+0 < R 1:1(0) win 0\n`;
  const nothing = "+0 fcntl(3, F_SETFL, O_NONBLOCK) = 0\n+0 accept(3, ..., ...) = -1 EAGAIN\n";
  const again = PASSIVE.split("\n").slice(3).join("\n");
  expect(run(`${asks}${nothing}${again}+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1`).verdict).toBe(
    "passed",
  );
});

test("a bare ACK in front of data is no part of it", () => {
  const text = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS
+0 > S 0:0(0) <...>
+0 < S. 0:0(0) ack 1 win 9000 <mss 1000>
+0 write(3, ..., 500) = 500
`;
  expect(run(`${text}+0 > . 1:1(0) ack 1\n+0 > P. 1:501(500) ack 1`).verdict).toBe("passed");
  const skipped = run(`${text}+0 > P. 1:501(500) ack 1`);
  expect(skipped).toMatchObject({ verdict: "failed", line: 7 });
  expect(skipped.message).toContain("expected 500 bytes vs actual 0 bytes");
});

test("--local_ip and --remote_ip: who a Fast Open cookie is for", () => {
  const key = "`sysctl -q net.ipv4.tcp_fastopen=0x402 net.ipv4.tcp_fastopen_key=1-2-3-4`\n";
  const asks = PASSIVE.split("\n").slice(0, 3).join("\n") +
    "\n+0 < S 0:0(0) win 1000 <mss 1000,FO,nop,nop>\n";
  const cookieOf = (...flags: string[]): string => {
    const { message } = run(`${key}${asks}+0 > S. 0:0(0) ack 1 <mss 1460>`, { flags });
    return /actual packet.*FO ([0-9a-f]{16})/.exec(message)![1]!;
  };
  const usual = cookieOf();
  expect(cookieOf("--local_ip=192.168.0.1", "--remote_ip=192.0.2.1", "--gateway_ip=192.168.0.7")).toBe(usual);
  const other = cookieOf("--local_ip=192.168.0.2");
  expect(other).not.toBe(usual);
  expect(cookieOf("--remote_ip=10.1.2.3")).not.toBe(usual);
  expect(cookieOf("--local_ip=192.168.0.2", "--remote_ip=10.1.2.3")).not.toBe(other);
  expect(cookieOf("--local_ip=fd::7")).toBe(usual); // for runs over IPv6
});

test("--sysctl: a kernel that is set otherwise than the script expects of it", () => {
  const open =
    "0 socket(..., SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 3\n+0 connect(3, ..., ...) = -1 EINPROGRESS\n";
  const twice = `${open}+0 > S 0:0(0) <...>\n+1 > S 0:0(0) <...>\n+2 > S 0:0(0) <...>`;
  expect(run(twice)).toMatchObject({ verdict: "failed", line: 5 });
  const flags = ["--sysctl=net.ipv4.tcp_syn_linear_timeouts=0"];
  expect(run(twice, { flags }).verdict).toBe("passed");
  // The script has the last word.
  const own = `\`sysctl -q net.ipv4.tcp_syn_linear_timeouts=4\`\n${twice}`;
  expect(run(own, { flags })).toMatchObject({ verdict: "failed", line: 6 });
  expect(run(twice, { flags: ["--sysctl=net.ipv4.tcp_nonsense=1"] }).verdict).toBe("unsupported");
  expect(run(twice, { flags: ["--sysctl"] }).verdict).toBe("failed");
});

test("google's set-up: every listener has Fast Open", () => {
  const asks = PASSIVE.split("\n").slice(0, 3).join("\n") +
    "\n+0 < S 0:0(0) win 1000 <mss 1000,FO,nop,nop>\n";
  const plain = `${asks}+0 > S. 0:0(0) ack 1 <mss 1460>`;
  expect(run(`\`./defaults.sh\`\n${plain}`).verdict).toBe("passed");
  expect(run(`\`../common/defaults.sh\`\n${plain}`).message).toContain("FO ");
});

test("--strict: packets behind the last expectation fail the script", () => {
  const text = `${PASSIVE}+0 write(4, ..., 10) = 10`;
  expect(run(text).verdict).toBe("passed");
  expect(run(text, { strict: true })).toMatchObject({ verdict: "failed", line: 8 });
});

test("what is not known is unsupported, never passed", () => {
  const cases: [string, string][] = [
    [`0 fork() = 0`, "system call fork()"],
    [`0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3`, "socket other than TCP"],
    ["`rm -rf /`\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3", 'command "rm -rf /"'],
    ["0 `sysctl -q net.ipv4.tcp_unheard_of=1`", "sysctl tcp_unheard_of"],
    [`${PASSIVE}+0 setsockopt(4, SOL_TCP, TCP_UNHEARD_OF, [1], 4) = 0`, "option TCP_UNHEARD_OF"],
    [`${PASSIVE}+0 %{ import os; os.system("true") }%`, `code "os.system("true")"`],
    [`${PASSIVE}+0 %{ assert tcpi_unheard_of == 1 }%`, "name tcpi_unheard_of in code"],
    [`${PASSIVE}+0 recv(4, ..., 10, MSG_OOB) = 10`, "flags 0x1 of recv()"],
    [`${PASSIVE}+0 > udp (10)`, "UDP packet"],
  ];
  for (const [text, reason] of cases) {
    expect(run(text), text).toMatchObject({ verdict: "unsupported", message: reason });
  }
  expect(run(cases.at(-1)![0]).line).toBe(8);
});

test("calls: results, errors and times of return are judged", () => {
  expect(run(`${PASSIVE}+0 read(4, ..., 10) = 10`).message).toBe("error in read call: it would block");
  expect(run(`${PASSIVE}+0...1 read(4, ..., 10) = 10\n+.5 < P. 1:11(10) ack 1 win 1000`)).toMatchObject({
    verdict: "failed",
    line: 8,
    message:
      "timing error: expected system call return at 1.100000 sec but happened at 0.600000 sec; tolerance 0.125000 sec",
  });
  expect(run(`${PASSIVE}+0...1 read(4, ..., 10) = 10`).message).toBe(
    "error in read call: it has not returned",
  );
  expect(run(`${PASSIVE}+0 write(4, ..., 10) = 11`).message).toContain("Expected result 11 but got 10");
  expect(run(`${PASSIVE}+0 read(5, ..., 10) = -1 EAGAIN`).message).toContain(
    "Expected errno EAGAIN but got EBADF",
  );
  expect(run(`${PASSIVE}+0 getsockopt(4, SOL_TCP, TCP_NODELAY, [1], [4]) = 0`).message).toContain(
    "Bad TCP_NODELAY",
  );
});

test("code: the line of the assertion, and what the numbers were", () => {
  const outcome = run(
    `${PASSIVE}+0 %{\nassert tcpi_state == TCP_ESTABLISHED\nassert tcpi_snd_cwnd == 5, "text"\n}%`,
  );
  expect(outcome).toMatchObject({ verdict: "failed", line: 10 });
  expect(outcome.message).toContain("tcpi_snd_cwnd = 10");
});

test("code: what one block assigns the blocks behind it can use, and change", () => {
  const text = `${PASSIVE}+0 %{ want = 8; want += 2 }%\n+0 %{ want -= 1; want *= 2 }%\n`;
  expect(run(`${text}+0 %{ assert want == 18 }%`).verdict).toBe("passed");
  expect(run(`${text}+0 %{ assert tcpi_snd_cwnd == want }%`)).toMatchObject({ verdict: "failed", line: 10 });
  expect(run(`${PASSIVE}+0 %{ never += 1 }%`)).toMatchObject({ verdict: "unsupported" });
});

test("routes: the path's MTU, and the first window", () => {
  const route = "ip route add 192.0.2.1 via 192.168.0.2 dev tun0 advmss 600 mtu lock 640 initcwnd 3";
  const text = `\`${route}\`\n${PASSIVE.replace("mss 1460", "mss 600")}+0 write(4, ..., 5000) = 5000`;
  expect(run(`${text}\n+0 > . 1:601(600) ack 1\n+0 %{ assert tcpi_snd_cwnd == 3 }%`).verdict).toBe("passed");
  expect(run(`\`${route.replace("lock", "loose")}\`\n${PASSIVE}`).verdict).toBe("unsupported");
});

test("a timestamp that the stack never sent cannot be echoed", () => {
  const text = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 1000 <mss 1000,nop,nop,TS val 1 ecr 0>
+0 > S. 0:0(0) ack 1 <mss 1460,nop,nop,TS val 100 ecr 1>
+.1 < . 1:1(0) ack 1 win 1000 <nop,nop,TS val 2 ecr 99>`;
  expect(run(text)).toMatchObject({ verdict: "failed", line: 6 });
  expect(run(text).message).toContain("unable to infer live TS ecr for script TS ecr 99");
  expect(run(`--tcp_ts_ecr_scaled\n${text}`).verdict).toBe("passed");
  const ticks = (val: number): Outcome =>
    run(
      `--tcp_ts_tick_usecs=1000\n${
        text.replace("ecr 99", "ecr 100")
      }\n+.1 < P. 1:2(1) ack 1 win 1000 <nop,nop,TS val 3 ecr 100>\n+0 > . 1:1(0) ack 2 <nop,nop,TS val ${val} ecr 3>`,
    );
  expect(ticks(300).verdict).toBe("passed");
  expect(ticks(310).message).toContain("bad outbound TCP timestamp value");
});

test("a script may be for one IP version, by its option or its name", () => {
  expect(judge("a_v6.pkt", "0 close(3) = 0", { ip: "ipv4", strict: false, sleep: false, flags: [] }))
    .toBeUndefined();
  expect(
    judge("a.pkt", "--ip_version=ipv6\n0 close(3) = 0", {
      ip: "ipv4",
      strict: false,
      sleep: false,
      flags: [],
    }),
  )
    .toBeUndefined();
});

test("the summary counts, and says what is not supported", () => {
  const outcomes = [run(PASSIVE), run("0 close(3) = 0"), run("0 fork() = 0"), run("0 fork() = 1")];
  expect(outcomes.map(({ verdict }) => verdict)).toEqual(["passed", "failed", "unsupported", "unsupported"]);
  expect(summarize(outcomes).split("\n").map((line) => line.trim().split(/\s+/).join(" "))).toEqual([
    "",
    "ip passed failed unsupported",
    "ipv4 1 1 2",
    "",
    "not supported",
    "2 system call fork()",
  ]);
});

test("nstat shows how much counters have grown, and a command that says no is a failure", () => {
  const probe = `+0 < icmp unreachable [5000:6000(1000)]\n`;
  const script = (commands: string): string => `${PASSIVE}+0 \`nstat -n\`\n${probe}${commands}`;
  const grown = (times: number): string =>
    `+0 \`nstat -s | grep TcpExtOutOfWindowIcmps | grep -q " ${times} "\`\n`;
  expect(run(script(grown(1) + grown(1))).verdict).toBe("passed"); // -s does not forget
  expect(run(script(grown(2)))).toMatchObject({ verdict: "failed", line: 10 });
  expect(run(script("+0 `nstat | grep TcpExtOutOfWindowIcmps > /dev/null`\n")).verdict).toBe("passed");
  expect(run(script("+0 `nstat > /dev/null`\n+0 `nstat | grep TcpExtOutOfWindowIcmps`\n"))).toMatchObject({
    verdict: "failed",
    line: 11,
  });
  expect(run(script("+0 `nstat | grep TcpExtUnheardOf`\n")).verdict).toBe("unsupported");
  expect(run(script('+0 `grep " 0A " /proc/net/tcp | grep ":1F90"`\n')).verdict).toBe("passed");
  expect(run(script('+0 `grep " 0A " /proc/net/tcp | grep ":1F91"`\n')).verdict).toBe("failed");
});

test("sendfile() sends what dd has written, and no other file is there", () => {
  const write = "+0 `dd bs=2 count=5 if=/dev/zero of=/tmp/f status=none`\n";
  const send = (more: string): string => `${PASSIVE}${write}+0 open("/tmp/f", O_RDONLY) = 5\n${more}`;
  expect(run(send("+0 sendfile(4, 5, [4], 100) = 6\n+0 > P. 1:7(6) ack 1")).verdict).toBe("passed");
  expect(run(send("+0 sendfile(4, 5, NULL, 6) = 6\n+0 sendfile(4, 5, NULL, 6) = 4\n")).verdict).toBe(
    "passed",
  );
  expect(run(`${PASSIVE}+0 open("/tmp/f", O_RDONLY) = -1 ENOENT (No such file or directory)`).verdict).toBe(
    "passed",
  );
  expect(run(`${PASSIVE}${write}+0 \`rm -f /tmp/f\`\n+0 open("/tmp/f", O_RDONLY) = -1 ENOENT (None)`).verdict)
    .toBe("passed");
});
