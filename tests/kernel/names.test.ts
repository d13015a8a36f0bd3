import { spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { TemporaryFolder } from "../support/folder.ts";
import { judge } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";

const ROUTER = fileURLToPath(new URL("conntrack/nat_router.ts", import.meta.url));
const SERVER = "10.82.0.2";
const RULES = `table inet egress {
  chain pass {
    type filter hook forward priority 0; policy drop;
    ct state invalid drop
    iifname "wan" ct state established,related accept
    tcp dport 443 tls sni { api.example.com, *.example.org } accept
    tcp dport 80 http host api.example.com accept
    tcp dport { 80, 443 } name pending accept
    meta l4proto tcp reject with tcp reset comment "only the API"
    reject with icmpx admin-prohibited
  }
  chain post { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
}
`;
/** So much that OpenSSL's ClientHello takes several records, and several segments. */
const ALPN = Array.from({ length: 30 }, (_, at) => `protocol-${"x".repeat(60)}-${at}`).join(",");

judge(
  "curl and openssl reach the names that rules let out, and show what they are refused with",
  ["root", "tun", "ip", "curl", "openssl", "python3"],
  async () => {
    using folder = new TemporaryFolder();
    const rules = folder.file("rules.nft");
    writeFileSync(rules, RULES);
    using near = new NetworkNamespace();
    using far = new NetworkNamespace();
    for (const name of ["lan", "wan"]) near.run("ip", "tuntap", "add", "dev", name, "mode", "tun");
    near.configure("lan", "10.81.0.2/24");
    near.run("ip", "route", "add", "default", "via", "10.81.0.1");
    const [program, ...args] = RUN_ON.node;
    const router = near.start(program!, [...args, ROUTER, rules, folder.file("store")]);
    const lines = createInterface({ input: router.stdout! })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe("ready");
    near.run("ip", "link", "set", "wan", "netns", far.name);
    far.configure("wan", `${SERVER}/24`, 1400);
    const [key, certificate] = [folder.file("key.pem"), folder.file("cert.pem")];
    far.run(
      ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] as const,
      ...["-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=test", "-days", "2"],
    );
    far.start("openssl", ["s_server", "-accept", "443", "-key", key, "-cert", certificate, "-www", "-quiet"]);
    const serve = `exec python3 -u -m http.server 80 --bind ${SERVER} --directory ${folder.path} 2>/dev/null`;
    const http = far.start("sh", ["-c", serve]);
    await createInterface({ input: http.stdout! })[Symbol.asyncIterator]().next(); // "Serving HTTP"

    /** What a program of the near side prints. */
    const said = (command: string, ...args: string[]): string => {
      const run = spawnSync("ip", ["netns", "exec", near.name, command, ...args], {
        encoding: "utf8",
        input: "",
        timeout: 20_000,
      });
      return run.stdout + run.stderr;
    };
    const curl = (url: string, host: string): string =>
      said("curl", "-sSvk", "--max-time", "15", "--resolve", `${host}:${url}:${SERVER}`, address(url, host));
    const address = (port: string, host: string): string =>
      port === "443" ? `https://${host}/` : `http://${host}/`;
    expect(curl("80", "api.example.com")).toMatch(/< HTTP\/1\.0 200 OK/);
    expect(curl("443", "api.example.com")).toMatch(/< HTTP\/1\.0 200 ok/i);
    expect(curl("443", "a.b.example.org")).toMatch(/< HTTP\/1\.0 200 ok/i);
    const refused = curl("80", "evil.example");
    expect(refused).toMatch(/< HTTP\/1\.1 403 Forbidden/);
    expect(refused).toMatch(/The firewall refuses evil\.example: only the API/);
    expect(curl("443", "evil.example")).toMatch(/alert access denied/);

    const tls = (name: string, ...more: string[]): string =>
      said("openssl", "s_client", "-connect", `${SERVER}:443`, ...more, "-servername", name);
    const split = ["-max_send_frag", "512", "-alpn", ALPN];
    expect(tls("api.example.com", ...split)).toMatch(/Server certificate/);
    expect(tls("example.org", ...split)).toMatch(/alert access denied/);
    expect(said("openssl", "s_client", "-connect", `${SERVER}:443`, "-noservername")).toMatch(
      /alert access denied/,
    );
    expect(said("curl", "-sS", "--max-time", "15", `http://${SERVER}:22/`)).toMatch(
      /Couldn't connect|refused/,
    );
    // QUIC is not looked into: datagrams to port 443 are refused, and browsers go on over TCP.
    const quic = "import socket as s; c = s.socket(s.AF_INET, s.SOCK_DGRAM); c.settimeout(5); " +
      `c.connect(('${SERVER}', 443)); c.send(b'x'); c.recv(1)`;
    expect(said("python3", "-c", quic)).toMatch(/No route to host|refused|unreachable/i);
  },
);
