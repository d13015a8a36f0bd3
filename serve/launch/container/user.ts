import { LaunchError } from "../launched.ts";

/** Who a program runs as. */
export interface User {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly home: string;
}

/** `uid_t`, without the value that means nobody. */
const ID_MAX = 2 ** 32 - 2;

/**
 * The user that an image's configuration names (OCI image specification, config.md): `user`, `uid`, `user:group`,
 * `uid:gid` and mixtures; empty is root. Without a group it is that of the tree's passwd, with its supplementary groups.
 *
 * @param passwd The tree's `/etc/passwd`, empty when it has none; `group` likewise.
 * @throws {LaunchError} When a name is in neither.
 */
export function userOf(text: string, passwd: string, group: string): User {
  const [who = "", ofGroup = "", more] = text.split(":");
  if (more !== undefined) throw new LaunchError(`User "${text}" is no user:group`);
  const users = rows(passwd, 7);
  const wanted = who === "" ? "0" : who;
  const row = users.find(([name, , uid]) => name === wanted || uid === wanted);
  const uid = row === undefined ? idOf(wanted) : idOf(row[2]!);
  if (uid === undefined) throw new LaunchError(`User "${wanted}" is not in the tree's /etc/passwd`);
  const groups = rows(group, 4);
  let gid: number | undefined;
  if (ofGroup !== "") {
    const found = groups.find(([name, , id]) => name === ofGroup || id === ofGroup);
    gid = found === undefined ? idOf(ofGroup) : idOf(found[2]!);
    if (gid === undefined) throw new LaunchError(`Group "${ofGroup}" is not in the tree's /etc/group`);
  } else gid = row === undefined ? 0 : idOf(row[3]!) ?? 0;
  const supplementary = row === undefined || ofGroup !== "" ? [] : groups
    .filter(([, , , members]) => members!.split(",").includes(row[0]!))
    .flatMap(([, , id]) => idOf(id!) ?? []);
  return { uid, gid, groups: [...new Set(supplementary)], home: row?.[5] || "/" };
}

function rows(text: string, columns: number): string[][] {
  return text.split("\n").map((line) => line.split(":")).filter((row) => row.length >= columns);
}

function idOf(text: string): number | undefined {
  const id = Number(text);
  return /^\d+$/.test(text) && id <= ID_MAX ? id : undefined;
}
