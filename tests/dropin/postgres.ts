import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { onTestFinished } from "vitest";
import { TemporaryFolder } from "../support/folder.ts";

/** Whom the server runs as: it refuses root, and this account is on every Debian. */
const NOBODY = 65_534;
const PORT = 5432;

/** A PostgreSQL of the test's own, on a unix socket alone; it ends with the test. */
export async function startPostgres(): Promise<{ path: string; user: string }> {
  const folder = new TemporaryFolder();
  const asRoot = process.getuid?.() === 0;
  if (asRoot) chownSync(folder.path, NOBODY, NOBODY);
  const who = asRoot ? { uid: NOBODY, gid: NOBODY } : {};
  const data = folder.file("data");
  execFileSync("initdb", ["-D", data, "-U", "torpor", "-A", "trust", "-N"], {
    ...who,
    cwd: folder.path,
    stdio: "ignore",
  });
  const server = spawn("postgres", [
    "-D",
    data,
    "-k",
    folder.path,
    "-p",
    `${PORT}`,
    "-c",
    "listen_addresses=",
    "-F",
  ], {
    ...who,
    cwd: folder.path,
    stdio: ["ignore", "ignore", "pipe"],
  });
  onTestFinished(async () => {
    server.kill("SIGINT");
    if (server.exitCode === null) await once(server, "exit");
    folder[Symbol.dispose]();
  });
  const path = join(folder.path, `.s.PGSQL.${PORT}`);
  let log = "";
  await new Promise<void>((resolve, reject) => {
    server.stderr.on("data", (text) => {
      log += text;
      if (log.includes("ready to accept connections")) resolve();
    });
    server.once("exit", () => reject(new Error(`PostgreSQL has not started: ${log}`)));
  });
  return { path, user: "torpor" };
}
