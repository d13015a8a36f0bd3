import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { expect } from "vitest";
import { readLibraryCache } from "../../../checkpoint/appliances/merge/libraries.ts";
import { openAppliance } from "../../../checkpoint/appliances/disk/open_appliance.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { judge } from "../../support/judge.ts";
import { torpor } from "../../cli/run.ts";
import { bytesIn } from "./trees.ts";

/** A package of one file, one configuration file and, where it says so, a library of this machine. */
function debianPackage(name: string, version: string, library?: string): string {
  return `
    mkdir -p deb/DEBIAN deb/usr/bin deb/etc/${name} deb/usr/lib
    printf 'Package: ${name}\\nVersion: ${version}\\nArchitecture: all\\nMaintainer: Nobody <n@example.org>\\nDescription: ${name}\\n one\\n' > deb/DEBIAN/control
    printf '/etc/${name}/conf\\n' > deb/DEBIAN/conffiles; echo ${version} > deb/etc/${name}/conf
    printf '#!/bin/sh\\necho ${name} ${version}\\n' > deb/usr/bin/${name}; chmod 755 deb/usr/bin/${name}
    ${library === undefined ? "" : `cp -L ${library} deb/usr/lib/`}
    (cd deb; find usr -type f -exec md5sum {} + > DEBIAN/md5sums)
    dpkg-deb --root-owner-group -Zgzip -b deb ${name}_${version}.deb >/dev/null; rm -r deb`;
}

const install = (root: string, ...debs: string[]): string =>
  `dpkg --root="$PWD/${root}" --log="$PWD/${root}/var/log/dpkg.log" --force-depends --force-not-root -i ${
    debs.join(" ")
  } >/dev/null`;

const USER = (root: string, name: string, id: number): string => `
    echo '${name}:x:${id}:${id}::/var/lib/${name}:/bin/false' >> ${root}/etc/passwd
    echo '${name}:!:19000::::::' >> ${root}/etc/shadow; echo '${name}:x:${id}:' >> ${root}/etc/group
    sed -i 's/^adm:x:4:.*/&${name}/' ${root}/etc/group`;

judge(
  "packages installed into two copies of a base are all there in the merged one: dpkg finds nothing amiss, and ldconfig all libraries",
  ["root", "dpkg", "ldconfig", "tar"],
  async () => {
    using at = new TemporaryFolder();
    const sh = (script: string): string =>
      execFileSync("sh", ["-ec", script], {
        cwd: at.path,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
    const [one, other] = sh(
      `ldconfig -p | awk '/libcrypt.so|libz.so.1 |libcom_err.so|libpcre|liblzma.so/{print $NF}' | head -2`,
    )
      .trim().split("\n");
    sh(`
      ${debianPackage("common", "1.0")}
      ${debianPackage("nginx", "1.22", one)}
      ${debianPackage("redis", "7.0", other)}
      ${debianPackage("shared", "2.0")}
      mkdir -p base/var/lib/dpkg/info base/var/lib/dpkg/updates base/var/log base/etc; : > base/var/lib/dpkg/status
      : > base/var/lib/dpkg/available
      echo 'root:x:0:0:root:/root:/bin/sh' > base/etc/passwd; echo 'root:*:19000::::::' > base/etc/shadow
      printf 'root:x:0:\\nadm:x:4:\\n' > base/etc/group; echo /usr/lib > base/etc/ld.so.conf
      ${install("base", "common_1.0.deb")}; ldconfig -r base
      cp -a base nginx; cp -a base redis
      ${install("nginx", "nginx_1.22.deb", "shared_2.0.deb")}; ${
      USER("nginx", "nginx", 101)
    }; ldconfig -r nginx
      ${install("redis", "redis_7.0.deb", "shared_2.0.deb")}; ${
      USER("redis", "redis", 102)
    }; ldconfig -r redis
    `);
    for (const name of ["nginx", "redis"]) {
      const made = await torpor([
        "appliance",
        "diff",
        at.file("base"),
        at.file(name),
        at.file(`${name}.diff`),
      ]);
      expect(made).toMatchObject({ code: 0, err: "" });
    }
    const both = at.file("both.diff");
    const diffs = [at.file("nginx.diff"), at.file("redis.diff")];
    const merged = await torpor(["appliance", "merge", at.file("base"), ...diffs, "--out", both, "--json"]);
    expect(merged).toMatchObject({ code: 0, err: "" });
    expect(merged.out).toContain(`"path":"etc/ld.so.cache","how":"merged as libraries`);
    const applied = await torpor(["appliance", "apply", at.file("base"), both, at.file("both")]);
    expect(applied).toMatchObject({ code: 0, err: "" });
    const dpkg = (...args: string[]): string => sh(`dpkg --root="$PWD/both" ${args.join(" ")}`);
    expect(dpkg("--audit")).toBe("");
    expect(dpkg("--verify")).toBe("");
    expect(
      sh(
        `dpkg-query --admindir="$PWD/both/var/lib/dpkg" -W -f '\${Package} \${Version} \${db:Status-Status}\\n'`,
      ),
    ).toBe(
      "common 1.0 installed\nnginx 1.22 installed\nredis 7.0 installed\nshared 2.0 installed\n",
    );
    expect(sh("cat both/etc/passwd both/etc/group")).toBe(
      "root:x:0:0:root:/root:/bin/sh\nnginx:x:101:101::/var/lib/nginx:/bin/false\nredis:x:102:102::/var/lib/redis:/bin/false\n" +
        "root:x:0:\nadm:x:4:nginx,redis\nnginx:x:101:\nredis:x:102:\n",
    );
    // ldconfig of the whole tree comes to the same libraries as the merge of both caches.
    const listed = "ldconfig -p -C both/etc/ld.so.cache | tail -n +2 | sort";
    const ours = sh(listed);
    expect(ours).toMatch(/=> \/(usr\/)?lib\//);
    sh("ldconfig -r both");
    expect(sh(listed)).toBe(ours);
    using after = await openAppliance(at.file("both"));
    const { libraries } = readLibraryCache(bytesIn(after.tree.get("etc/ld.so.cache")!.content!));
    expect(libraries.length).toBeGreaterThan(1);
    // A conflict stops all of it.
    sh(`echo mine >> nginx/etc/common/conf; echo theirs >> redis/etc/common/conf; rm *.diff`);
    for (const name of ["nginx", "redis"]) {
      await torpor(["appliance", "diff", at.file("base"), at.file(name), at.file(`${name}.diff`)]);
    }
    const refused = await torpor(["appliance", "merge", at.file("base"), ...diffs, "--out", both]);
    expect(refused.code).toBe(1);
    expect(refused.out).toMatch(
      /CONFLICT content etc\/common\/conf\n {2}content\n {2}nginx: file of \d+ bytes/,
    );
    expect(existsSync(both)).toBe(false);
    sh(`echo '{"resolve":[{"path":"etc/common/conf","take":"redis"}]}' > policy`);
    const policy = ["--policy", at.file("policy")];
    expect((await torpor(["appliance", "merge", at.file("base"), ...diffs, "--out", both, ...policy])).code)
      .toBe(0);
  },
  60_000,
);
