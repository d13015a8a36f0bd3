import type { Slab } from "../../base/slab.ts";
import type { Interface, LinkOutput } from "../ip/interface.ts";
import type { Stack } from "../stack.ts";
import type { Drop } from "../wire/drop.ts";

/** Hears of every frame of a host while it watches. Frames are valid until the call returns. */
export interface PacketWatcher {
  /** A frame has arrived and is about to be looked at. */
  arrived(interfaceIndex: number, slab: Slab, start: number, end: number): void;
  /** What has become of it. */
  judged(drop: Drop): void;
  /** A frame has left; those that their link did not take have not. */
  left(interfaceIndex: number, slab: Slab, start: number, end: number): void;
}

/** The watchers of a host. Who does not watch costs nothing: links are only wrapped while somebody does. */
export class PacketWatch {
  readonly #stack: Stack;
  readonly #watchers = new Set<PacketWatcher>();
  #bare: LinkOutput[] = [];

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  get on(): boolean {
    return this.#watchers.size > 0;
  }

  /** @returns How to stop. Idempotent. */
  add(watcher: PacketWatcher): () => void {
    if (!this.on) this.#wrap();
    this.#watchers.add(watcher);
    return () => {
      if (this.#watchers.delete(watcher) && !this.on) this.#unwrap();
    };
  }

  receive(
    interfaceIndex: number,
    slab: Slab,
    start: number,
    end: number,
    nowMs: number,
    segmentBytes: number | undefined,
  ): void {
    for (const watcher of this.#watchers) watcher.arrived(interfaceIndex, slab, start, end);
    const drop = this.#stack.receive(interfaceIndex, slab, start, end, nowMs, segmentBytes);
    for (const watcher of this.#watchers) watcher.judged(drop);
  }

  #wrap(): void {
    const { interfaces } = this.#stack.output;
    this.#bare = interfaces.map(({ link }) => link);
    interfaces.forEach((each, index) => setLink(each, this.#watched(index, each.link)));
  }

  #unwrap(): void {
    this.#stack.output.interfaces.forEach((each, index) => setLink(each, this.#bare[index]!));
  }

  #watched(index: number, link: LinkOutput): LinkOutput {
    return {
      medium: link.medium,
      get mtu(): number {
        return link.mtu;
      },
      get trainBytesMax(): number {
        return link.trainBytesMax ?? 0;
      },
      send: (slab, start, end, segmentBytes) => {
        const taken = link.send(slab, start, end, segmentBytes);
        if (taken) { for (const watcher of this.#watchers) watcher.left(index, slab, start, end); }
        return taken;
      },
      flush: () => link.flush(),
    };
  }
}

function setLink(of: Interface, link: LinkOutput): void {
  (of as { link: LinkOutput }).link = link;
}
