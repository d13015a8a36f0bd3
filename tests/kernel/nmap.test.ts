import { describe, expect } from "vitest";
import { judge } from "../support/judge.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { KERNEL_ADDRESS, KernelServer, sleep, STACK_ADDRESS } from "./kernel_server.ts";

const NEEDS = ["root", "tun", "ip", "nc", "nmap"] as const;
const NEVER_IDLE_MS = 3_600_000;
/** The server listens on the first two. */
const OPEN = ["7", "80"], CLOSED = ["81", "9999"];

/** What nmap says of each port: `7/tcp open echo`. */
function states(report: string): Record<string, string> {
  return Object.fromEntries(
    [...report.matchAll(/^(\d+)\/tcp\s+(\S+)/gm)].map(([, port, state]) => [port, state]),
  );
}

/** The parts of a fingerprint by name: `T2(R=N)`, `SEQ(SP=FF%GCD=1...)`. */
function fingerprint(report: string): Map<string, string> {
  const text = [...report.matchAll(/^OS:(.*)$/gm)].map(([, line]) => line).join("");
  return new Map([...text.matchAll(/([A-Z]+\d?)\(([^)]*)\)/g)].map(([, name, body]) => [name!, body!]));
}

/** One value of a part. */
function field(part: string | undefined, name: string): string | undefined {
  return new RegExp(`(?:^|%)${name}=([^%]*)`).exec(part ?? "")?.[1];
}

describe("nmap looks at a stack from outside", () => {
  judge(
    "a SYN scan tells open from closed; NUL, FIN and Christmas trees tell nothing of open ports (RFC 9293 section 3.10.7)",
    NEEDS,
    async () => {
      using folder = new TemporaryFolder();
      using server = new KernelServer("node", folder.path, NEVER_IDLE_MS);
      await server.start();
      const scan = (kind: string): Record<string, string> =>
        states(server.netns.run("nmap", "-n", "-Pn", kind, "-p", [...OPEN, ...CLOSED].join(), STACK_ADDRESS));
      const expected = (open: string, closed: string): Record<string, string> =>
        Object.fromEntries([...OPEN.map((port) => [port, open]), ...CLOSED.map((port) => [port, closed])]);
      expect(scan("-sS")).toEqual(expected("open", "closed"));
      for (const kind of ["-sN", "-sF", "-sX"]) {
        expect(scan(kind), kind).toEqual(
          expected("open|filtered", "closed"),
        );
      }
      expect(scan("-sA")).toEqual(expected("unfiltered", "unfiltered")); // a stray ACK gets RST, open or not
      for (const kind of ["-sW", "-sM"]) expect(scan(kind), kind).toEqual(expected("closed", "closed"));
      expect((await server.counts()).awake).toBe(0);
    },
    120_000,
  );

  judge(
    "sequence numbers cannot be predicted, identifications do not count, and odd segments get Linux's answers (SHLD-1, MUST-9, RFC 6528, RFC 6864)",
    NEEDS,
    async () => {
      using folder = new TemporaryFolder();
      using server = new KernelServer("node", folder.path, NEVER_IDLE_MS);
      await server.start();
      const listener = server.netns.start("nc", ["-lk", "-p", "80"]);
      await sleep(500);
      const look = (address: string): string =>
        server.netns.run("nmap", "-n", "-Pn", "-O", "-v", "--max-os-tries", "2", "-p", "80,81", address);
      // After a pause identifications take a random step, as Linux's do: where a busy machine lets nmap pause for longer
      // than 40 ms between its two pings, it may not know what to make of them (fewer than 10 apart says "I").
      const whole = (address: string): string => {
        let report = look(address);
        for (let more = 5; more > 0 && field(fingerprint(report).get("SEQ"), "II") === undefined; more--) {
          report = look(address);
        }
        return report;
      };
      const report = whole(STACK_ADDRESS);
      const kernel = whole(KERNEL_ADDRESS);
      listener.kill();
      expect(report).toMatch(/TCP Sequence Prediction: Difficulty=\d+ \(Good luck!\)/);
      expect(report).toContain("IP ID Sequence Generation: All zeros");
      const [ours, theirs] = [fingerprint(report), fingerprint(kernel)];
      // T1: an ordinary SYN; T2 to T4: NUL, SYN with FIN, ACK to the open port; T5 to T7: SYN, ACK, FIN to the closed one.
      for (const part of ["T1", "T2", "T3", "T4", "T5", "T6", "T7", "U1", "IE"]) {
        expect(ours.get(part), part).toBe(theirs.get(part));
      }
      for (const name of ["TI", "CI", "II"]) {
        expect(field(ours.get("SEQ"), name), name).toBe(field(theirs.get("SEQ"), name));
      }
      // What the steps between sequence numbers have in common: by chance 2 or 3 now and then, never much.
      expect(parseInt(field(ours.get("SEQ"), "GCD") ?? "ff", 16)).toBeLessThanOrEqual(6);
      // The order of our options, their values aside; the answer to an ECN-setup SYN.
      const shape = (options: string | undefined): string | undefined =>
        options?.replace(/([MW])[0-9A-F]+/g, "$1");
      for (let probe = 1; probe <= 6; probe++) {
        const name = `O${probe}`;
        expect(shape(field(ours.get("OPS"), name)), name).toBe(shape(field(theirs.get("OPS"), name)));
      }
      for (const name of ["R", "DF", "T", "CC", "Q"]) {
        expect(field(ours.get("ECN"), name), name).toBe(field(theirs.get("ECN"), name));
      }
    },
    120_000,
  );
});
