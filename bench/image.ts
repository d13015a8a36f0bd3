import { Decoder } from "cbor-x/decode";
import { Encoder } from "cbor-x/encode";
import { readSocketImage, writeSocketImage } from "../checkpoint/sockets/socket_image.ts";
import { freezeTcb, thawTcb } from "../net/tcp/freeze.ts";
import { FROZEN_TCB_ALWAYS, isFrozenTcbDefault } from "../net/tcp/frozen_tcb.ts";
import { Tcb } from "../net/tcp/tcb.ts";
import { tcpSend } from "../net/tcp/user.ts";
import { type Bench, compare } from "./bench.ts";
import { OneSided } from "./one_sided.ts";

const UNSENT_BYTES = 16 * 1024;
const ATTACHMENT = { user: "ada", room: 42, since: 1_700_000_000_000 };

/** One socket's way into its image and back. */
export const bench: Bench = {
  async *run(options) {
    const { tcb, nowMs, stack } = used();
    const frozen = freezeTcb(tcb, nowMs);
    // The same values without an image around them: what any encoder must do at least.
    const values = frozen.filter((_, place) =>
      place < FROZEN_TCB_ALWAYS || !isFrozenTcbDefault(frozen, place)
    );
    const encoder = new Encoder({ useRecords: false });
    const decoder = new Decoder({ useRecords: false });
    const idle = writeSocketImage(frozen, undefined);
    const attached = writeSocketImage(frozen, ATTACHMENT);
    const bare = encoder.encode(values).slice();
    const text = JSON.stringify(values);

    const other = used();
    tcpSend(other.stack.tcp, other.tcb, new Uint8Array(UNSENT_BYTES), 0, UNSENT_BYTES);
    const frozenFull = freezeTcb(other.tcb, other.nowMs);
    const full = writeSocketImage(frozenFull, undefined);

    yield await compare("writing a socket's image", {
      "image, idle": () => void writeSocketImage(frozen, undefined),
      "image, with an attachment": () => void writeSocketImage(frozen, ATTACHMENT),
      "image, 16 KiB unsent": () => void writeSocketImage(frozenFull, undefined),
      "bare CBOR (cbor-x), no hash": () => void encoder.encode(values),
      "JSON, no hash": () => void JSON.stringify(values),
      "freezing the TCB, before": () => void freezeTcb(tcb, nowMs),
    }, options);
    yield await compare("reading a socket's image", {
      "image, idle": () => void readSocketImage(idle),
      "image, with an attachment": () => void readSocketImage(attached),
      "image, 16 KiB unsent": () => void readSocketImage(full),
      "bare CBOR (cbor-x), no hash": () => void decoder.decode(bare),
      "JSON, no hash": () => void JSON.parse(text),
      "thawing a TCB, after": () => {
        const target = new Tcb(0);
        thawTcb(frozen, target, stack.tcp.config, nowMs);
      },
    }, options);
    yield {
      title: "bytes",
      columns: ["", "bytes"],
      rows: [
        ["image, idle", idle.length],
        ["image, with an attachment", attached.length],
        ["image, 16 KiB unsent", full.length],
        ["bare CBOR (cbor-x), no hash", bare.length],
        ["JSON, no hash", text.length],
      ],
    };
  },
};

/** A connection over which some data went each way, idle for a minute. */
function used(): OneSided {
  const side = new OneSided();
  side.receive(100);
  side.send(100);
  side.settle();
  return side;
}
