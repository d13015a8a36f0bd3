import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { linkFor } from "../../cli/firewall/rules_file.ts";
import { readJsonRules } from "../../net/firewall/nft/json/read.ts";
import { FirewallSyntaxError, readTextRules } from "../../net/firewall/nft/text/read.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { expectTaken, listed } from "./taken.ts";
import { asListed } from "../firewall/listed.ts";
import { loadWithNft } from "../firewall/nft.ts";

// Rules that others have written: those that come with nftables, and those that programs make. None of them is kept here.

const EXAMPLES = "/usr/share/doc/nftables/examples";
/** Where of the examples we refuse what, all else loads. */
const REFUSED: Readonly<Record<string, string | undefined>> = {
  "all-in-one.nft": "netdev-ingress.nft:2:7: Tables of family netdev are not supported",
  "arp-filter.nft": "arp-filter.nft:1:7: Tables of family arp are not supported",
  "bridge-filter.nft": "bridge-filter.nft:1:7: Tables of family bridge are not supported",
  "ct_helpers.nft": 'ct_helpers.nft:18:2: "ct" is not supported',
  "load_balancing.nft": "load_balancing.nft:41:7: Tables of family netdev are not supported",
  "netdev-ingress.nft": "netdev-ingress.nft:2:7: Tables of family netdev are not supported",
  "secmark.nft": 'secmark.nft:14:2: "secmark" is not supported',
};

function example(name: string): string {
  return readFileSync(join(EXAMPLES, name), "utf8");
}

judge("the examples that come with nftables load as nft loads them, or are refused where it says", [
  "root",
  "ip",
  "nft",
], () => {
  if (!existsSync(EXAMPLES)) expect.fail(`${EXAMPLES} is not there: it is in Debian's package nftables`);
  const names = readdirSync(EXAMPLES).filter((name) => name.endsWith(".nft"));
  expect(names.length).toBeGreaterThan(15);
  const texts: { name: string; text: string }[] = [];
  for (const name of names) {
    // Deletes a table that is expected to be there; and is about interfaces that it defines.
    const text = name === "sets_and_maps.nft" ? `table filter\n${example(name)}` : example(name);
    const include = (file: string): { name: string; text: string }[] => [{ name: file, text: example(file) }];
    const refused = REFUSED[name];
    if (refused === undefined) {
      linkFor(readTextRules(text, { file: name, include }), []);
      // Of interfaces nft has only these here.
      const there = ["tun0", "eth1", "lo"];
      const named = text.replaceAll(/\b(?:eth|bond|wlan)([0-9])\b/g, (_, digit: number) => there[digit % 3]!);
      texts.push({ name, text: named });
      continue;
    }
    let said = "";
    try {
      readTextRules(text, { file: name, include });
    } catch (error) {
      expect(error).toBeInstanceOf(FirewallSyntaxError);
      said = (error as Error).message;
    }
    expect(said, name).toContain(refused);
  }
  loadWithNft(texts.map(({ text }) => text)).forEach((theirs, at) => {
    const { name, text } = texts[at]!;
    expect(theirs.error, name).toBeUndefined();
    if (theirs.error !== undefined) return;
    expect(asListed(readJsonRules(theirs.json)), name).toEqual(asListed(readTextRules(text, { file: name })));
  });
});

function inFolder(run: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "torpor-rules-"));
  try {
    run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

judge(
  "firewalld's rules are taken: its zones, with ports, masquerading, forwarded ports and rich rules",
  ["root", "ip", "nft", "firewalld", "dbus-daemon"],
  () =>
    inFolder((folder) => {
      const zone = `<?xml version="1.0" encoding="utf-8"?>
<zone target="DROP">
  <short>Home</short>
  <interface name="eth1"/>
  <service name="ssh"/>
  <service name="dhcpv6-client"/>
  <port port="8000-8010" protocol="udp"/>
  <icmp-block name="redirect"/>
  <masquerade/>
  <forward-port port="80" protocol="tcp" to-port="8080" to-addr="10.0.0.7"/>
  <rule family="ipv4"><source address="192.0.2.0/24"/><log prefix="seen " level="info"><limit value="3/m"/></log><reject/></rule>
  <rule family="ipv6" priority="-5"><source address="2001:db8::/32"/><service name="https"/><accept/></rule>
  <rule><tcp-mss-clamp value="pmtu"/></rule>
  <forward/>
</zone>`;
      mkdirSync(join(folder, "zones"), { recursive: true });
      writeFileSync(join(folder, "zones/home.xml"), zone);
      writeFileSync(
        join(folder, "firewalld.conf"),
        "DefaultZone=public\nFirewallBackend=nftables\nLogDenied=all\n",
      );
      using netns = new NetworkNamespace();
      netns.run(
        "sh",
        "-c",
        `cd ${folder} && dbus-daemon --session --address=unix:path=${folder}/bus --nofork --nopidfile & bus=$!
        cd ${folder}; for n in $(seq 1 100); do [ -S bus ] && break; sleep 0.05; done
        DBUS_SYSTEM_BUS_ADDRESS=unix:path=${folder}/bus firewalld --nofork --nopid --system-config ${folder} \\
          --log-file ${folder}/log > out 2>&1 & fw=$!
        while kill -0 $fw && ! nft list chain inet firewalld nat_POST_home > /dev/null 2>&1; do sleep 0.1; done
        before=; while [ "$before" != "$(nft list ruleset | md5sum)" ]; do before=$(nft list ruleset | md5sum); sleep 0.3; done
        kill -9 $fw $bus`, // whoever is asked to end takes the rules along
      );
      const made = listed(netns);
      expect(made.text).toContain("10.0.0.7");
      expect(made.text).toContain("maxseg size set rt mtu");
      expectTaken(made);
    }),
);

judge(
  "fail2ban's rules are taken, and those whom it bans",
  ["root", "ip", "nft", "fail2ban-server"],
  () =>
    inFolder((folder) => {
      cpSync("/etc/fail2ban", join(folder, "conf"), { recursive: true });
      rmSync(join(folder, "conf/jail.d"), { recursive: true });
      writeFileSync(join(folder, "auth.log"), "");
      writeFileSync(join(folder, "conf/fail2ban.local"), "[Definition]\ndbfile = None\nallowipv6 = yes\n");
      writeFileSync(
        join(folder, "conf/jail.local"),
        `[DEFAULT]\nbanaction = nftables-multiport\nbackend = polling\n` +
          `[sshd]\nenabled = true\nport = ssh,2222\nlogpath = ${folder}/auth.log\n` +
          `[sieve]\nenabled = true\nbanaction = nftables-allports\nlogpath = ${folder}/auth.log\n`,
      );
      using netns = new NetworkNamespace();
      const server =
        `fail2ban-server -c ${folder}/conf -p ${folder}/pid -s ${folder}/sock --logtarget ${folder}/log`;
      const client = `fail2ban-client -s ${folder}/sock`;
      netns.run(
        "sh",
        "-c",
        `${server} --syslogsocket none -xf start > /dev/null & f=$!
      while kill -0 $f && ! ${client} status sieve > /dev/null 2>&1; do sleep 0.1; done
      ${client} set sshd banip 192.0.2.7 2001:db8::7; ${client} set sieve banip 192.0.2.8
      while kill -0 $f && ! { nft list ruleset | grep -q 192.0.2.8 && nft list ruleset | grep -q db8::7; }; do sleep 0.1; done
      kill -9 $f`,
      );
      const made = listed(netns);
      expect(made.text).toContain("192.0.2.7");
      expectTaken(made);
    }),
);

/** In the words of iptables what Docker, and kube-proxy in its older mode, ask for. */
const IPTABLES = `*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:BRIDGES - [0:0]
:SERVICE - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j BRIDGES
-A PREROUTING -d 10.96.0.10/32 -p udp -m comment --comment "dns" -m udp --dport 53 -j SERVICE
-A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE
-A BRIDGES -i br0 -j RETURN
-A BRIDGES ! -i br0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:80
-A SERVICE -p udp -m udp --dport 53 -j DNAT --to-destination 10.244.0.3:53
COMMIT
*filter
:FORWARD DROP [0:0]
:USER - [0:0]
-A FORWARD -j USER
-A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i br0 ! -o br0 -j ACCEPT
-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A USER -j RETURN
COMMIT
`;

judge(
  "what iptables-nft has loaded is refused at the first of its own extensions; what iptables translates is taken",
  ["root", "ip", "nft", "iptables-nft-restore", "iptables-restore-translate"],
  () =>
    inFolder((folder) => {
      const path = join(folder, "rules");
      writeFileSync(path, IPTABLES);
      using netns = new NetworkNamespace();
      netns.run("iptables-nft-restore", path);
      const { json } = listed(netns);
      const { nftables } = json as { nftables: { rule?: { expr: object[] } }[] };
      const first = nftables.findIndex(({ rule }) => rule?.expr.some((each) => "xt" in each));
      expect(first).toBeGreaterThan(0);
      expect(() => readJsonRules(json)).toThrow(
        new RegExp(`nftables\\[${first}\\].*"xt" (is|are) not supported`),
      );
      netns.run("nft", "flush", "ruleset");
      writeFileSync(path, netns.run("iptables-restore-translate", "-f", path));
      netns.run("nft", "-f", path);
      expectTaken(listed(netns));
    }),
);
