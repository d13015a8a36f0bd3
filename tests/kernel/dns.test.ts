import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect } from "vitest";
import { said } from "../support/said.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";
import { until } from "../support/sink.ts";
import { Capture, WHOLE_BYTES } from "./capture.ts";

const CLIENT = fileURLToPath(new URL("./dns_client.ts", import.meta.url));
const NEEDS = ["root", "tun", "ip", "dnsmasq", "dig", "nc", "tcpdump", "tshark"] as const;
const SERVER = "10.85.0.2";
const MANY = 300;

/** What dig shows for an answer of ours: a line each, sorted, as it writes them. */
function asDig(type: string, answer: unknown[]): string[] {
  const quoted = (text: string): string => `"${text}"`;
  const lines = answer.map((value) => {
    if (type === "TXT") return (value as string[]).map(quoted).join(" ");
    if (type === "CAA") {
      const { critical, tag, value: text } = value as { critical: boolean; tag: string; value: string };
      return `${critical ? 128 : 0} ${tag} ${quoted(text)}`;
    }
    return typeof value === "object" ? Object.values(value!).join(" ") : String(value);
  });
  return lines.sort();
}

for (const runtime of ["node", "deno"] as const) {
  describe.concurrent(`names resolved on ${runtime}`, () => {
    judge(
      "dnsmasq's answers, by UDP and TCP, are those that dig shows, and tshark reads our questions",
      NEEDS,
      async () => {
        using folder = new TemporaryFolder();
        using netns = new NetworkNamespace();
        netns.run("ip", "tuntap", "add", "dev", "dns0", "mode", "tun");
        netns.configure("dns0", `${SERVER}/24`);
        const capture = await Capture.start(netns, "dns0", folder.file("dns.pcap"), {
          bytes: WHOLE_BYTES,
          checked: ["ip", "udp"],
        });
        const many = Array.from(
          { length: MANY },
          (_, at) => `--host-record=many.test,10.9.${at >> 8}.${at & 255}`,
        );
        const dnsmasq = netns.start("dnsmasq", [
          ...["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"],
          ...["--interface=dns0", "--bind-interfaces", "--local=/test/", "--local-ttl=60", "--quiet-dhcp"],
          `--host-record=www.test,${SERVER},2001:db8::80`,
          "--cname=alias.test,www.test",
          "--cname=far.test,alias.test",
          "--mx-host=mx.test,mail.test,10",
          "--mx-host=mx.test,mail2.test,20",
          "--txt-record=txt.test,v=1 one,and two",
          "--srv-host=_http._tcp.test,www.test,8080,1,2",
          "--ptr-record=7.2.0.192.in-addr.arpa,seven.test",
          "--caa-record=caa.test,0,issue,ca.test",
          "--naptr-record=naptr.test,10,20,S,SIP+D2U,,sip.test",
          ...many,
        ], "pipe");
        const listens = said(dnsmasq.stderr!, /started/);
        const nc = netns.start("sh", ["-c", `echo hello from www | nc -l -N ${SERVER} 8080`]);
        await listens;
        await until(() => netns.run("ss", "-Htln").includes(":8080"), "nc listens");

        const [program, ...args] = RUN_ON[runtime];
        const client = netns.start(program!, [...args, CLIENT, "dns0", "10.85.0.1/24", SERVER]);
        const lines = createInterface({ input: client.stdout! })[Symbol.asyncIterator]();
        expect((await lines.next()).value).toBe("ready");
        const ask = async (line: string): Promise<unknown> => {
          client.stdin!.write(`${line}\n`);
          return JSON.parse((await lines.next()).value);
        };
        const questions = [
          ...["A www.test", "AAAA www.test", "A alias.test", "A far.test", "CNAME alias.test", "MX mx.test"],
          ...["TXT txt.test", "SRV _http._tcp.test", "PTR 7.2.0.192.in-addr.arpa", "CAA caa.test"],
          ...["NAPTR naptr.test", "A many.test"],
        ];
        for (const question of questions) {
          const [type, name] = question.split(" ");
          const shown = netns.run("dig", "+short", `@${SERVER}`, type!, name!).trim().split("\n");
          const expected = type === "A" || type === "AAAA"
            ? shown.filter((line) => !/\.$/.test(line))
            : shown;
          let answer = asDig(type!, await ask(question) as unknown[]);
          if (type === "NAPTR") { // dig quotes its texts
            answer = answer.map((line) =>
              line.replace("S SIP+D2U ", '"S" "SIP+D2U" ""').replace('""', '"" ')
            );
            answer = answer.map((line) => line.replaceAll(/ +/g, " "));
          }
          expect([question, answer]).toEqual([question, expected.sort()]);
        }
        expect((await ask("A many.test") as string[]).length).toBe(MANY); // by TCP
        expect(await ask("A none.test")).toBe('NotFound: Cannot resolve "none.test": there is no such name');
        expect(await ask("MX www.test")).toMatch(/^NotFound: .*no record of type MX/);
        expect(await ask("GET far.test 8080")).toBe("hello from www\n");
        nc.kill();

        await capture.stop();
        const ours = "ip.src == 10.85.0.1";
        expect((await capture.lines(`${ours} && dns`)).length).toBeGreaterThanOrEqual(questions.length);
        expect((await capture.lines(`${ours} && dns && tcp`)).length).toBeGreaterThanOrEqual(1);
        expect(await capture.lines(`${ours} && (_ws.malformed || udp.checksum.status == 0)`)).toEqual([]);
        expect(await capture.lines(`${ours} && dns && udp && _ws.expert.severity >= "Warning"`)).toEqual([]);
      },
    );
  });
}
