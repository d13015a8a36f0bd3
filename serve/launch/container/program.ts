import fs from "node:fs";
import type { Service } from "../../../checkpoint/appliances/appliance.ts";
import { resolveInTree } from "../in_tree.ts";
import { LaunchError } from "../launched.ts";
import type { Program } from "./init.ts";
import { checkMachine } from "./machine.ts";
import { userOf } from "./user.ts";

/** The Linux default for programs of images that set none. */
const PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * A service as the init starts it, by what the tree in `root` knows of its user.
 * @throws {LaunchError} When it says something that cannot be done.
 */
export function programOf(root: string, service: Service): Program {
  const { name, entrypoint, cmd, env, workingDir } = service;
  const refuse = (why: string): never => {
    throw new LaunchError(`Cannot launch "${name}": ${why}`);
  };
  const argv = [...entrypoint, ...cmd];
  if (argv.length === 0 || argv[0] === "") refuse("it has no program");
  if (argv[0]!.includes("=")) refuse(`its program "${argv[0]}" has a "=" in its name`);
  const odd = env.find((each) => !/^[^=]+=/.test(each));
  if (odd !== undefined) refuse(`"${odd}" of its environment is no NAME=value`);
  if ([...argv, ...env, workingDir].some((each) => each.includes("\0"))) refuse("a NUL in its command line");
  const path = env.find((each) => each.startsWith("PATH="))?.slice("PATH=".length);
  let user: Program["user"];
  try {
    checkMachine(root, argv[0]!, path ?? PATH_DEFAULT);
    user = userOf(service.user, textInTree(root, "etc/passwd"), textInTree(root, "etc/group"));
  } catch (error) {
    if (!(error instanceof LaunchError)) throw error;
    return refuse(error.message);
  }
  const hasHome = env.some((each) => each.startsWith("HOME="));
  return {
    argv,
    env: [
      ...path === undefined ? [`PATH=${PATH_DEFAULT}`] : [],
      ...hasHome ? [] : [`HOME=${user.home}`],
      ...env,
    ],
    user,
    workingDir: workingDir || "/",
  };
}

function textInTree(root: string, path: string): string {
  const at = resolveInTree(root, path);
  return fs.existsSync(at) ? fs.readFileSync(at, "utf8") : "";
}
