import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { Slab } from "../../../base/slab.ts";
import { sendIcmpError6, translateError } from "../../../net/ip/icmpv6.ts";
import { Stack } from "../../../net/stack.ts";
import { Drop } from "../../../net/wire/drop.ts";
import { IcmpRecord, IcmpTimeExceeded, IcmpType, IcmpUnreachable } from "../../../net/wire/icmp.ts";
import { finishIcmpv6Checksum, Icmpv6Record, readIcmpv6 } from "../../../net/wire/icmpv6.ts";
import { Ipv4Record } from "../../../net/wire/ipv4.ts";
import { ip6 } from "../wire/frames.ts";

const NOW_MS = 1_700_000_000_000;

function stackOf(sent: Uint8Array[] = []): Stack {
  const stack = new Stack({ nowMs: NOW_MS, entropy: new Prng(1) });
  const send = (slab: Slab, start: number, end: number): boolean => {
    sent.push(slab.bytes.slice(start, end));
    return true;
  };
  stack.addInterface({ name: "net0", link: { medium: "ip", mtu: 1_500, send, flush: () => {} } });
  stack.setRoutes({ addresses: [{ address: "2001:db8::2/64" }] });
  return stack;
}

/** An error of this type and code about a datagram of the stack's, in ICMPv4's words. */
function translated(
  type: number,
  code: number,
  rest = 0,
): [type: number, code: number, rest: number] | undefined {
  const stack = stackOf();
  stack.addresses.retain(stack.addresses.parse("2001:db8::1")!);
  // From 2001:db8::1, to 2001:db8::2: whoever asked the other way round has the same two.
  const quote = ip6(17, "0035c00100080000");
  const message = new Slab(new Uint8Array(8 + quote.length));
  message.bytes.set([type, code]);
  message.view.setUint32(4, rest);
  message.bytes.set(quote, 8);
  finishIcmpv6Checksum(message, 0, message.bytes.length, 0, 0);
  const icmp = new Icmpv6Record();
  expect(readIcmpv6(message, 0, message.bytes.length, 0, 0, icmp)).toBe(Drop.None);
  const into = new IcmpRecord();
  if (!translateError(stack, icmp, message, 1, into)) return undefined;
  expect([into.hasQuote, into.quoteSourcePort, into.quoteDestinationPort]).toEqual([true, 53, 0xc001]);
  return [into.type, into.code, into.rest];
}

test("errors of ICMPv6 mean what those of ICMPv4 mean that RFC 7915 puts in their place", () => {
  const { Unreachable, TimeExceeded, ParameterProblem } = IcmpType;
  expect(translated(1, 0)).toEqual([Unreachable, IcmpUnreachable.Network, 0]);
  expect(translated(1, 1)).toEqual([Unreachable, IcmpUnreachable.Prohibited, 0]);
  expect(translated(1, 2)).toEqual([Unreachable, IcmpUnreachable.Host, 0]);
  expect(translated(1, 3)).toEqual([Unreachable, IcmpUnreachable.Host, 0]);
  expect(translated(1, 4)).toEqual([Unreachable, IcmpUnreachable.Port, 0]);
  expect(translated(1, 5)).toEqual([Unreachable, IcmpUnreachable.Prohibited, 0]);
  expect(translated(2, 0, 1_400)).toEqual([Unreachable, IcmpUnreachable.FragmentationNeeded, 1_400]);
  expect(translated(2, 0, 0xffff_ffff)).toEqual([Unreachable, IcmpUnreachable.FragmentationNeeded, 0xffff]);
  expect(translated(3, 0)).toEqual([TimeExceeded, IcmpTimeExceeded.Transit, 0]);
  expect(translated(3, 1)).toEqual([TimeExceeded, IcmpTimeExceeded.Reassembly, 0]);
  expect(translated(4, 1)).toEqual([Unreachable, IcmpUnreachable.Protocol, 0]);
  expect(translated(4, 0, 6)).toEqual([ParameterProblem, 0, 0]);
  expect(translated(128, 0)).toBe(undefined); // no error
});

test("what the stack has to say of a packet leaves in ICMPv6's words (RFC 4443 section 3)", () => {
  const told = (type: number, code: number, rest = 0): number[] | Drop => {
    const sent: Uint8Array[] = [];
    const stack = stackOf(sent);
    const packet = ip6(17, "0035c00100080000");
    const slab = new Slab(packet);
    const ip = Object.assign(new Ipv4Record(), {
      source: stack.addresses.parse("2001:db8::1")!,
      destination: stack.addresses.parse("2001:db8::2")!,
      protocol: 17,
      headerStart: 0,
      dataStart: 40,
      dataEnd: packet.length,
    });
    const drop = sendIcmpError6(stack, type, code, rest, ip, slab, NOW_MS);
    if (sent.length === 0) return drop;
    return [sent[0]![40]!, sent[0]![41]!, new DataView(sent[0]!.buffer).getUint32(44)];
  };
  const { Unreachable, TimeExceeded } = IcmpType;
  expect(told(Unreachable, IcmpUnreachable.FragmentationNeeded, 1_300)).toEqual([2, 0, 1_300]);
  expect(told(Unreachable, IcmpUnreachable.Port)).toEqual([1, 4, 0]);
  for (const code of [IcmpUnreachable.Network, IcmpUnreachable.NetworkUnknown]) {
    expect(told(Unreachable, code)).toEqual([1, 0, 0]);
  }
  for (
    const code of [
      IcmpUnreachable.Prohibited,
      IcmpUnreachable.NetworkProhibited,
      IcmpUnreachable.HostProhibited,
    ]
  ) {
    expect(told(Unreachable, code)).toEqual([1, 1, 0]);
  }
  expect(told(Unreachable, IcmpUnreachable.Host)).toEqual([1, 3, 0]);
  expect(told(TimeExceeded, 1)).toEqual([3, 1, 0]);
  expect(told(IcmpType.ParameterProblem, 0)).toBe(Drop.IcmpType); // has a call of its own
});
