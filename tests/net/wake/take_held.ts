import type { HeldPackets } from "../../../net/wake/held.ts";

/** Takes all that is held for a record: where each packet came in, and its bytes. */
export function takeHeld(held: HeldPackets, record: number): [interfaceIndex: number, bytes: number[]][] {
  const taken: [number, number[]][] = [];
  for (let packet = held.begin(record); packet >= 0; packet = held.free(packet)) {
    const { slab, interfaceIndex } = held.open(packet);
    taken.push([interfaceIndex, [...slab.bytes]]);
    held.giveBack(slab);
  }
  return taken;
}
