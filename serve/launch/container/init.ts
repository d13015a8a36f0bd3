import { TOOLS, type Tools } from "./tools.ts";
import type { User } from "./user.ts";

/** A program as the init starts it. */
export interface Program {
  readonly argv: readonly string[];
  /** `NAME=value`. */
  readonly env: readonly string[];
  readonly user: User;
  readonly workingDir: string;
}

/** What an init is written for. */
export interface InitOptions {
  /** The tree; it is only read. */
  readonly root: string;
  /** A folder with `lower`, `upper`, `work` and `root` in it, whose path holds nothing that overlayfs would misread. */
  readonly state: string;
  readonly hostname: string;
  /** The interface as it is called before it moves in, and what it becomes. */
  readonly interfaceName: string;
  readonly address: string;
  readonly mtu: number;
  readonly tools: Tools;
  readonly programs: readonly Program[];
}

/**
 * What root in a container may do: what most container runtimes allow, without making devices (nothing else would keep it
 * from the machine's disks: there is no device controller here).
 */
export const CAPABILITIES = [
  ...["chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"],
  ...["net_bind_service", "net_raw", "sys_chroot", "audit_write", "setfcap"],
] as const;

const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"] as const;

/** What of /proc would reach the machine. */
const PROC_READ_ONLY = ["sys", "sysrq-trigger", "irq", "bus"] as const;

/**
 * The first process of a container, in POSIX's shell language: any /bin/sh runs it, none is needed in the tree.
 *
 * In its new namespaces it lays an overlay over the tree, makes /proc and /dev, waits for its interface, makes the tree
 * its root and lets go of the machine's. Any user may have any port in there, as in other containers. From there on it has the shell's own commands and three tools (`tools.ts`). It
 * starts the programs, waits for everybody, orphans too, passes SIGTERM and SIGINT on to all, and ends with the last
 * program; the kernel ends the rest.
 *
 * It says on descriptor 3, a line each: `pid N` (its number on the machine; it then waits for a line on standard input),
 * `ready`, and after another line `started I PID` and `exited I CODE`. When its standard input ends it kills all.
 */
export function initScript(options: InitOptions): string {
  const { root, state, hostname, interfaceName, address, mtu, tools, programs } = options;
  const bare = address.split("/")[0]!;
  return `set -eu
read -r pid rest </proc/self/stat
echo "pid $pid" >&3
read -r line
mount --bind ${quote(root)} ${state}/lower
mount -t overlay -o lowerdir=${state}/lower,upperdir=${state}/upper,workdir=${state}/work overlay ${state}/root
cd ${state}/root
mkdir -p proc dev etc
test -d tmp || { mkdir tmp; chmod 1777 tmp; }
mount -t proc -o nosuid,nodev,noexec proc proc
echo 0 >proc/sys/net/ipv4/ip_unprivileged_port_start
for name in ${PROC_READ_ONLY.join(" ")}; do
  test ! -e proc/$name || { mount --bind proc/$name proc/$name && mount -o remount,bind,ro proc/$name; }
done
mount -t tmpfs -o mode=755,nosuid,size=64m tmpfs dev
for name in ${DEVICES.join(" ")}; do : >dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm dev/.torpor dev/.torpor/old
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,nosuid,noexec devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
cp -L ${tools.files.map(quote).join(" ")} dev/.torpor/
printf '%s\\n' '127.0.0.1 localhost' '::1 localhost' ${quote(`${bare} ${hostname}`)} >dev/.torpor/hosts
test -e etc/hosts || : >etc/hosts
mount --bind dev/.torpor/hosts etc/hosts
echo ${quote(hostname)} >/proc/sys/kernel/hostname
ip link set lo up
ip link set ${quote(interfaceName)} name eth0
ip address add ${quote(`${bare}/${bare.includes(":") ? 128 : 32}`)} dev eth0
ip link set eth0 mtu ${mtu} up
ip ${bare.includes(":") ? "-6 " : ""}route add default dev eth0
pivot_root . dev/.torpor/old
cd /
${call(tools, "umount")} -l ${TOOLS}/old
echo ready >&3
read -r line
set +e
exec 4<&0 5>&2 2>/dev/null # a shell remarks on programs that signals end; those that are meant are told below
# Each program has a shell that waits for it. A wait is cut short by a signal: kill -0 tells whether it was.
service() {
  trap : TERM INT
  number=$1 directory=$2
  shift 2
  (cd "$directory" && exec "$@" 3>&- 4<&- 5>&-) </dev/null 2>&5 &
  program=$!
  echo "started $number $program" >&3
  while :; do
    wait $program
    code=$?
    kill -0 $program 2>/dev/null || break
  done
  echo "exited $number $code" >&3
}
(trap '' TERM INT; read -r line <&4; kill -KILL -1) &
trap 'kill -TERM -1' TERM INT
waiting=
${programs.map((program, index) => `${startLine(tools, program, index)} &\nwaiting="$waiting $!"`).join("\n")}
for shell in $waiting; do
  while :; do
    wait $shell
    kill -0 $shell 2>/dev/null || break
  done
done
exit 0
`;
}

function startLine(tools: Tools, { argv, env, user, workingDir }: Program, index: number): string {
  const { uid, gid, groups } = user;
  const privileges = [
    ...[`--reuid=${uid}`, `--regid=${gid}`, `--groups=${[...new Set([gid, ...groups])].join(",")}`],
    ...["--inh-caps=-all", `--bounding-set=-all,${CAPABILITIES.map((each) => `+${each}`).join(",")}`],
  ];
  // What a shell starts in the background ignores SIGINT and SIGQUIT, by which some programs end.
  const environment = ["--default-signal", "-i", "--", ...env];
  return `service ${index} ${quote(workingDir)} ${call(tools, "setpriv")} ${privileges.join(" ")} ${
    call(tools, "env")
  } ${environment.map(quote).join(" ")} ${argv.map(quote).join(" ")}`;
}

function call(tools: Tools, name: string): string {
  return tools.call[name]!.map(quote).join(" ");
}

/** A word of the shell that stands for itself. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
