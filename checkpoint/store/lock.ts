import fs from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { StoreError } from "./store.ts";

const LOCK_NAME = /^lock\.(\d+)\.(\d+)\.([0-9a-f]*)$/;

/**
 * Claims `folder` for this process, which a second claim, from here or elsewhere, cannot do.
 *
 * JavaScript runtimes offer no flock(2), so the claim is an empty file whose *name* says who holds it:
 * process id, the process's start time, the boot. Making it is atomic and complete. A claimer makes
 * its own, then looks for others: one whose process lives makes it give up (two that start at the
 * same instant may both give up), those of dead processes, such as `kill -9` leaves, are removed.
 *
 * Limits: processes must see each other in /proc, so a folder must not be shared between machines or
 * process-id namespaces. Without /proc a process id that was given out again looks alive.
 *
 * @returns How to let go of it.
 * @throws {StoreError} When another store holds it.
 */
export function lockFolder(folder: string): () => void {
  const boot = bootId();
  const own = `lock.${process.pid}.${startTime(process.pid) ?? 0}.${boot}`;
  const path = join(folder, own);
  try {
    fs.closeSync(fs.openSync(path, "wx"));
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") throw error;
    throw new StoreError(`Cannot open store "${folder}": this process has it open already`, { file: own });
  }
  for (const name of fs.readdirSync(folder)) {
    const match = LOCK_NAME.exec(name);
    if (!match || name === own) continue;
    if (match[3] === boot && isAlive(Number(match[1]), Number(match[2]))) {
      fs.unlinkSync(path);
      throw new StoreError(`Cannot open store "${folder}": process ${match[1]} has it open`, { file: name });
    }
    fs.rmSync(join(folder, name), { force: true });
  }
  return () => fs.rmSync(path, { force: true });
}

/** The living process, this one or another, that has the store in `folder` open; undefined when none has. */
export function holderOf(folder: string): number | undefined {
  const boot = bootId();
  for (const name of fs.readdirSync(folder)) {
    const match = LOCK_NAME.exec(name);
    if (match && match[3] === boot && isAlive(Number(match[1]), Number(match[2]))) return Number(match[1]);
  }
  return undefined;
}

function isAlive(pid: number, started: number): boolean {
  const now = startTime(pid);
  if (now !== undefined) return now === started;
  if (fs.existsSync("/proc/self/stat")) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** When the process started, in clock ticks since boot; undefined when it is gone, a zombie, or unknown. */
function startTime(pid: number): number | undefined {
  let stat: string;
  try {
    stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // the name before may hold anything
  return fields[0] === "Z" || fields[0] === "X" ? undefined : Number(fields[19]);
}

function bootId(): string {
  try {
    return fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").replace(/[^0-9a-f]/g, "").slice(0, 12);
  } catch {
    return "";
  }
}
