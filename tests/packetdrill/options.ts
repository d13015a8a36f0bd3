import type { Scanner } from "./scanner.ts";
import { type IpVersion, ipVersions, type ScriptOptions, ScriptSyntaxError, Unsupported } from "./script.ts";

/** How late or early something may be when neither the script nor a long wait allows more. */
const TOLERANCE_US = 4_000;
/** Waits allow something in proportion to them. */
const TOLERANCE_OF_WAIT = 0.125;

/** Options that say how a machine is set up: here it always is. */
const IGNORED = new Set([
  "netmask_ip",
  "init_scripts",
  "bind_port",
  "connect_port",
  "mss",
  "verbose",
  "dry_run",
  "send_omit_free",
  "non_fatal",
  "speed",
  "code_command",
  "code_format",
  "code_sockopt",
  "use_expect",
  "hash_output",
]);

/** Reads the options before the first event, after those of the command line. */
export function parseOptions(scanner: Scanner, flags: readonly string[], ip: IpVersion): ScriptOptions {
  const options: ScriptOptions = {
    ipVersion: undefined,
    toleranceUs: TOLERANCE_US,
    toleranceOfWait: TOLERANCE_OF_WAIT,
    mtu: ip === "ipv6" ? 1520 : 1500, // so that the MSS is 1460 everywhere
    strictSegments: false,
    tsTickUs: 0,
    tsEcrScaled: false,
    localIp: undefined,
    remoteIp: undefined,
    gatewayIp: undefined,
    settings: [],
    defines: new Map(),
  };
  for (const flag of flags) {
    const [, name, value] = /^--(\w+)(?:=([\s\S]*))?$/.exec(flag) ?? [];
    if (name === undefined) throw new ScriptSyntaxError(0, `"${flag}" is no option`);
    setOption(options, name, value, 0);
  }
  for (;;) {
    const line = scanner.line();
    const define = scanner.take(/-D\s*(\w+=(?:"[^"]*"|`[^`]*`|[^\s"`]+))/);
    if (define !== undefined) {
      setOption(options, "define", define[1], line);
      continue;
    }
    const option = scanner.take(/--(\w+)(?:=((?:\w+=)?(?:"[^"]*"|`[^`]*`|[^\s"`]+)))?/);
    if (option === undefined) return options;
    setOption(options, option[1]!, option[2], line);
  }
}

function setOption(options: ScriptOptions, name: string, value: string | undefined, line: number): void {
  const number = (): number => {
    if (value === undefined || !/^\d+$/.test(value)) {
      throw new ScriptSyntaxError(line, `option --${name} needs a number, not "${value ?? ""}"`);
    }
    return Number(value);
  };
  switch (name) {
    case "ip_version":
      if (!ipVersions.includes(value as IpVersion)) {
        throw new ScriptSyntaxError(line, `unknown IP version "${value ?? ""}"`);
      }
      options.ipVersion = value as IpVersion;
      return;
    case "tolerance_usecs":
      options.toleranceUs = number();
      return;
    case "tolerance_percent":
      options.toleranceOfWait = number() / 100;
      return;
    case "mtu":
      options.mtu = number();
      return;
    case "strict_segments":
      options.strictSegments = true;
      return;
    case "tcp_ts_tick_usecs":
      options.tsTickUs = number();
      return;
    case "tcp_ts_ecr_scaled":
      options.tsEcrScaled = true;
      return;
    case "local_ip":
      options.localIp = value;
      return;
    case "remote_ip":
      options.remoteIp = value;
      return;
    case "gateway_ip":
      options.gatewayIp = value;
      return;
    case "sysctl": // an extension of ours: a kernel that is set otherwise
      if (!/^[\w./]+=/.test(value ?? "")) {
        throw new ScriptSyntaxError(line, "option --sysctl needs NAME=VALUE");
      }
      options.settings.push(value!);
      return;
    case "define": {
      const equals = value?.indexOf("=") ?? -1;
      if (equals <= 0) throw new ScriptSyntaxError(line, `option --define needs NAME=VALUE`);
      options.defines.set(value!.slice(0, equals), value!.slice(equals + 1));
      return;
    }
  }
  if (!IGNORED.has(name)) throw new Unsupported(`option --${name}`, line);
}
