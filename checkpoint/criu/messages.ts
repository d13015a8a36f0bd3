/**
 * CRIU's messages of TCP sockets, with the numbers and names of its `images/*.proto`: tcp-stream.proto,
 * sk-inet.proto, sk-opts.proto, fown.proto, fdinfo.proto (github.com/checkpoint-restore/criu, as of version 3.17).
 * @module
 */
import { field, type Message } from "./protobuf.ts";

export const TCP_STREAM_ENTRY: Message = {
  name: "tcp_stream_entry",
  fields: {
    inq_len: field("required", "uint32", 1),
    inq_seq: field("required", "uint32", 2),
    outq_len: field("required", "uint32", 3),
    outq_seq: field("required", "uint32", 4),
    opt_mask: field("required", "uint32", 5),
    snd_wscale: field("required", "uint32", 6),
    mss_clamp: field("required", "uint32", 7),
    rcv_wscale: field("optional", "uint32", 8),
    timestamp: field("optional", "uint32", 9),
    cork: field("optional", "bool", 10),
    nodelay: field("optional", "bool", 11),
    unsq_len: field("optional", "uint32", 12),
    snd_wl1: field("optional", "uint32", 13),
    snd_wnd: field("optional", "uint32", 14),
    max_window: field("optional", "uint32", 15),
    rcv_wnd: field("optional", "uint32", 16),
    rcv_wup: field("optional", "uint32", 17),
  },
};

const FOWN_ENTRY: Message = {
  name: "fown_entry",
  fields: {
    uid: field("required", "uint32", 1),
    euid: field("required", "uint32", 2),
    signum: field("required", "uint32", 3),
    pid_type: field("required", "uint32", 4),
    pid: field("required", "uint32", 5),
  },
};

const SK_OPTS_ENTRY: Message = {
  name: "sk_opts_entry",
  fields: {
    so_sndbuf: field("required", "uint32", 1),
    so_rcvbuf: field("required", "uint32", 2),
    so_snd_tmo_sec: field("required", "uint64", 3),
    so_snd_tmo_usec: field("required", "uint64", 4),
    so_rcv_tmo_sec: field("required", "uint64", 5),
    so_rcv_tmo_usec: field("required", "uint64", 6),
    reuseaddr: field("optional", "bool", 7),
    so_keepalive: field("optional", "bool", 19),
    tcp_keepcnt: field("optional", "uint32", 20),
    tcp_keepidle: field("optional", "uint32", 21),
    tcp_keepintvl: field("optional", "uint32", 22),
    so_buf_lock: field("optional", "uint32", 25),
  },
};

const INET_SK_ENTRY: Message = {
  name: "inet_sk_entry",
  fields: {
    id: field("required", "uint32", 1),
    ino: field("required", "uint32", 2),
    family: field("required", "uint32", 3),
    type: field("required", "uint32", 4),
    proto: field("required", "uint32", 5),
    state: field("required", "uint32", 6),
    src_port: field("required", "uint32", 7),
    dst_port: field("required", "uint32", 8),
    flags: field("required", "uint32", 9),
    backlog: field("required", "uint32", 10),
    src_addr: field("repeated", "uint32", 11),
    dst_addr: field("repeated", "uint32", 12),
    fown: field("required", FOWN_ENTRY, 13),
    opts: field("required", SK_OPTS_ENTRY, 14),
  },
};

/** Of all that a file may be only what an internet socket is. */
export const FILE_ENTRY: Message = {
  name: "file_entry",
  fields: {
    type: field("required", "uint32", 1),
    id: field("required", "uint32", 2),
    isk: field("optional", INET_SK_ENTRY, 4),
  },
};

/** `fd_types.INETSK` of fdinfo.proto. */
export const FILE_TYPE_INETSK = 4;
