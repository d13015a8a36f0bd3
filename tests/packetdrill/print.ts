import { TcpFlag } from "../../net/wire/tcp.ts";
import { OptionKind } from "./parse_tcp_options.ts";
import type { TcpOptionSpec } from "./script.ts";
import type { Segment } from "./segment.ts";

/** A segment as scripts write it: `P. 1:1001(1000) ack 1 win 500 <nop,nop,TS val 1 ecr 2>`. */
export function showSegment(segment: Segment): string {
  const length = segment.payload.length;
  let text = `${showFlags(segment.flags, segment.ae)} ${segment.sequence}:${
    (segment.sequence + length) >>> 0
  }(${length})`;
  if ((segment.flags & TcpFlag.ACK) !== 0) text += ` ack ${segment.acknowledgment}`;
  if (segment.window >= 0) text += ` win ${segment.window}`;
  if (segment.urgent > 0) text += ` urg ${segment.urgent}`;
  return segment.options.length > 0 ? `${text} <${segment.options.map(showOption).join(",")}>` : text;
}

export function showFlags(flags: number, ae = false): string {
  const names: [string, number][] = [
    ["F", TcpFlag.FIN],
    ["S", TcpFlag.SYN],
    ["R", TcpFlag.RST],
    ["U", TcpFlag.URG],
    ["E", TcpFlag.ECE],
    ["W", TcpFlag.CWR],
  ];
  const text = names.filter(([, bit]) => (flags & bit) !== 0).map(([name]) => name).join("") +
    (ae ? "A" : "") +
    (flags & TcpFlag.PSH ? "P" : "") + (flags & TcpFlag.ACK ? "." : "");
  return text === "" ? "-" : text;
}

function showOption({ kind, data }: TcpOptionSpec): string {
  const word = (at: number, bytes: number): number =>
    data.slice(at, at + bytes).reduce((sum, byte) => sum * 256 + byte, 0);
  const hex = (from: number): string =>
    data.slice(from).map((byte) => byte.toString(16).padStart(2, "0")).join("");
  switch (kind) {
    case OptionKind.eol:
      return "eol";
    case OptionKind.nop:
      return "nop";
    case OptionKind.mss:
      return `mss ${word(0, 2)}`;
    case OptionKind.windowScale:
      return `wscale ${word(0, 1)}`;
    case OptionKind.sackPermitted:
      return "sackOK";
    case OptionKind.sack: {
      const blocks: string[] = [];
      for (let at = 0; at < data.length; at += 8) blocks.push(`${word(at, 4)}:${word(at + 4, 4)}`);
      return `sack ${blocks.join(" ")}`;
    }
    case OptionKind.timestamp:
      return `TS val ${word(0, 4)} ecr ${word(4, 4)}`;
    case OptionKind.fastOpen:
      return `FO ${hex(0)}`.trimEnd();
    case OptionKind.accEcn0:
    case OptionKind.accEcn1: {
      const names = kind === OptionKind.accEcn0 ? ["e0b", "ceb", "e1b"] : ["e1b", "ceb", "e0b"];
      return "ECN " +
        names.slice(0, data.length / 3).map((name, at) => `${name} ${word(at * 3, 3)}`).join(" ");
    }
    case OptionKind.experiment:
      return `FOEXP ${hex(2)}`.trimEnd();
    default:
      return `kind ${kind} ${hex(0)}`.trimEnd();
  }
}

export function showSeconds(us: number): string {
  return (us / 1e6).toFixed(6);
}
