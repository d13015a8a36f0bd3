import { closeSync, openSync, writeSync } from "node:fs";
import { Slab } from "../../base/slab.ts";
import type { Player } from "../../checkpoint/replay/player.ts";
import { PcapngWriter } from "../../net/link/pcapng_writer.ts";
import type { Happening } from "./happening.ts";
import { wordsOf } from "./printer.ts";

/** A comment's length in characters; 65,535 bytes are what the format allows. */
const COMMENT_MAX = 4_000;

/** Writes the packets of both ways as pcapng; what the stack did with each is its comment. */
export class PcapngOut {
  readonly #file: number;
  readonly #writer: PcapngWriter;
  readonly #player: () => Player;
  readonly #interfaces: number[] = [];
  #pending: { readonly packet: Happening; readonly words: string[] } | undefined;

  /** @throws {Error} The runtime's own, when the file cannot be made. */
  constructor(path: string, player: () => Player) {
    this.#file = openSync(path, "w");
    this.#writer = new PcapngWriter((bytes) => {
      for (let at = 0; at < bytes.length;) at += writeSync(this.#file, bytes, at);
    });
    this.#player = player;
  }

  hear(happening: Happening): void {
    const { kind, step } = happening;
    if (kind === "in" || kind === "out") {
      this.#flush();
      this.#pending = { packet: happening, words: [`step ${step}`] };
    } else if (!happening.routine) {
      this.#pending?.words.push(
        this.#pending.packet.step === step ? wordsOf(happening) : `step ${step}: ${wordsOf(happening)}`,
      );
    }
  }

  #flush(): void {
    if (this.#pending === undefined) return;
    const { packet: { kind, frame, timeMs, interfaceIndex, interfaceName }, words } = this.#pending;
    this.#pending = undefined;
    const index = interfaceIndex!;
    const medium = this.#player().mediumOf(index);
    const known = this.#interfaces[index] ??= this.#writer.addInterface(medium, interfaceName);
    const comment = words.join("\n").slice(0, COMMENT_MAX);
    this.#writer.packet(
      known,
      kind as "in" | "out",
      timeMs,
      new Slab(frame!.slice()),
      0,
      frame!.length,
      comment,
    );
  }

  close(): void {
    this.#flush();
    this.#writer.flush();
    closeSync(this.#file);
  }
}
