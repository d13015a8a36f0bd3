import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sh } from "./shell.ts";

/** What is installed above the base, and what Debian calls it. */
const PACKAGES = { nginx: "nginx-light", redis: "redis-server" } as const;
/** The appliances. */
export const NAMES = Object.keys(PACKAGES) as (keyof typeof PACKAGES)[];

/** How each is started, which no folder says. */
const SERVICES: Readonly<Record<(typeof NAMES)[number], object>> = {
  nginx: { entrypoint: ["nginx", "-g", "daemon off;"], ports: ["80/tcp"] },
  redis: {
    entrypoint: ["redis-server", "/etc/redis/redis.conf"],
    cmd: ["--daemonize", "no", "--bind", "0.0.0.0", "--protected-mode", "no"],
    ...{ ports: ["6379/tcp"], user: "redis", workingDir: "/var/lib/redis" },
  },
};

/** Writes what the appliances start, for `torpor appliance diff --services`. */
export function writeServices(folder: string): void {
  for (const name of NAMES) {
    const service = { name, cmd: [], env: [], user: "", workingDir: "/", ...SERVICES[name] };
    writeFileSync(join(folder, `${name}.json`), JSON.stringify([service]));
  }
}

/** Trees of an earlier run, or Debian's: a minimal one, and one for each package above it. */
export function debianTrees(folder: string, kept: string | undefined): void {
  if (kept !== undefined) {
    for (const name of ["base", ...NAMES]) sh(folder, `cp -a ${join(kept, name)} ${name}`);
    return;
  }
  sh(folder, "debootstrap --variant=minbase bookworm base >/dev/null");
  for (const name of NAMES) {
    sh(
      folder,
      `cp -a base ${name}; cp /etc/resolv.conf ${name}/etc/resolv.conf
      printf '#!/bin/sh\\nexit 101\\n' > ${name}/usr/sbin/policy-rc.d; chmod +x ${name}/usr/sbin/policy-rc.d
      chroot ${name} env DEBIAN_FRONTEND=noninteractive sh -c \\
        'apt-get install -y --no-install-recommends ${PACKAGES[name]} && apt-get clean' >/dev/null 2>&1
      rm ${name}/usr/sbin/policy-rc.d; cp -a base/etc/resolv.conf ${name}/etc/resolv.conf`,
    );
  }
}

/** Trees that show that all of it runs. */
export function smallTrees(folder: string): void {
  for (const name of ["base", ...NAMES]) {
    mkdirSync(join(folder, name, "usr/bin"), { recursive: true });
    writeFileSync(join(folder, name, "usr/bin/sh"), "x".repeat(100_000));
    if (name !== "base") cpSync(fileURLToPath(import.meta.url), join(folder, name, "usr/bin", name));
  }
}
