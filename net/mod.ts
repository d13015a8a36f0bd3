/** The userspace network stack: bytes in, bytes out. @module */
export type { Link, LinkCounters, LinkSink, Medium } from "./link/link.ts";
