/** What RFC 9293 calls its requirements (appendix B), each in a line of our own. */
export interface Requirement {
  /** `MUST-8`, `SHLD-3`, `MAY-1`, `REC-1`. */
  id: string;
  level: Level;
  section: string;
  text: string;
  /**
   * Why no test shows it, or why it is done otherwise than asked for. Absent where it is done: then tests
   * must name it.
   */
  without?: { state: "not done" | "not applicable"; reason: string };
  /** How far it is done, where other documents ask for less, and which. */
  asFar?: string;
}

export type Level = "MUST" | "MUST NOT" | "SHOULD" | "SHOULD NOT" | "MAY";

const SOURCE_ROUTE =
  "RFC 7126 asks routers to drop packets with source routes, and Linux refuses them by default; the option of an arriving packet is skipped";

const must = (number: number, section: string, text: string): Requirement => ({
  id: `MUST-${number}`,
  level: "MUST",
  section,
  text,
});
const mustNot = (number: number, section: string, text: string): Requirement => ({
  ...must(number, section, text),
  level: "MUST NOT",
});
const should = (number: number, section: string, text: string): Requirement => ({
  id: `SHLD-${number}`,
  level: "SHOULD",
  section,
  text,
});
const shouldNot = (number: number, section: string, text: string): Requirement => ({
  ...should(number, section, text),
  level: "SHOULD NOT",
});
const may = (number: number, section: string, text: string): Requirement => ({
  id: `MAY-${number}`,
  level: "MAY",
  section,
  text,
});
const notDone = (requirement: Requirement, reason: string): Requirement => ({
  ...requirement,
  without: { state: "not done", reason },
});
const notApplicable = (requirement: Requirement, reason: string): Requirement => ({
  ...requirement,
  without: { state: "not applicable", reason },
});

/** All 119. Levels are those of the text; three lines of the RFC's own table differ from it. */
export const REQUIREMENTS: readonly Requirement[] = [
  must(1, "3.1", "The window field is an unsigned number"),
  must(2, "3.1", "Every segment leaves with its checksum"),
  must(3, "3.1", "The checksum of every arriving segment is verified"),
  must(4, "3.1", "End of list, no-operation and maximum segment size are supported"),
  must(5, "3.1", "Options are read in every segment, not only in SYN"),
  must(6, "3.1", "Unknown options are skipped by their length"),
  must(7, "3.1", "Option lengths that cannot be do no harm"),
  must(8, "3.4.1", "A clock drives the initial sequence number"),
  mustNot(9, "3.4.1", "Nobody outside can compute what is added to the clock"),
  must(10, "3.5", "Both ends may open towards each other at once"),
  must(11, "3.5", "SYN-RECEIVED remembers whether the open was passive or active"),
  must(12, "3.6", "The application learns that the peer has closed or reset"),
  must(13, "3.6.1", "Whoever closes first stays in TIME-WAIT for two maximum segment lifetimes"),
  must(14, "3.7.1", "The maximum segment size option is sent and read"),
  must(15, "3.7.1", "Without that option segments hold 536 bytes on IPv4, 1,220 on IPv6"),
  must(16, "3.7.1", "Segments hold what the peer and the path take, less the options"),
  must(17, "3.7.4", "Nagle's algorithm can be switched off per connection"),
  must(18, "3.8.1", "The retransmission timeout follows RFC 6298, with Karn's algorithm"),
  must(19, "3.8.2", "Slow start, congestion avoidance and exponential backoff"),
  must(20, "3.8.3", "Retransmission passes two thresholds, R1 and R2, and at R2 the connection ends"),
  must(21, "3.8.3", "The application may set R2 for a connection"),
  must(22, "3.8.3", "The thresholds hold for SYN as well"),
  must(23, "3.8.3", "SYN is tried for at least three minutes"),
  must(24, "3.8.4", "Keep-alive can be switched per connection"),
  must(25, "3.8.4", "Keep-alive is off by default"),
  must(26, "3.8.4", "Keep-alives are sent only when nothing is under way and nothing has come"),
  must(27, "3.8.4", "The interval of keep-alives can be set"),
  must(28, "3.8.4", "That interval is two hours or more by default"),
  must(29, "3.8.4", "One keep-alive without an answer does not end a connection"),
  must(30, "3.8.5", "The urgent mechanism is supported"),
  must(31, "3.8.5", "Urgent data may be of any length"),
  must(32, "3.8.5", "The application is told of urgent data when it arrives"),
  must(33, "3.8.5", "The application can ask how much urgent data is left"),
  must(34, "3.8.6", "A window that shrinks is borne"),
  must(35, "3.8.6", "A window that shrinks to nothing is probed like a closed one"),
  must(36, "3.8.6.1", "A closed window is probed"),
  must(37, "3.8.6.1", "As long as probes are answered, the connection stays"),
  must(38, "3.8.6.2.1", "The sender avoids silly windows"),
  must(39, "3.8.6.2.2", "The receiver avoids silly windows"),
  must(40, "3.8.6.3", "An ACK is delayed by less than half a second"),
  mustNot(41, "3.9.1.1", "A passive open changes nothing for connections that exist"),
  must(42, "3.9.1.1", "A port may listen while it has connections"),
  must(43, "3.9.1.1", "A passive open may name its local address"),
  must(44, "3.9.1.1", "An active open asks the IP layer for its local address"),
  must(45, "3.9.1.1", "That address stays for the life of the connection"),
  must(46, "3.9.1.1", "No open to a broadcast or multicast address"),
  must(47, "3.9.1.8", "Soft errors are reported to the application"),
  must(48, "3.9.1.9", "The application may set the Differentiated Services field"),
  must(49, "3.9.2", "The time to live can be configured"),
  must(50, "3.9.2", "Unknown IP options are ignored"),
  notDone(must(51, "3.9.2.1", "The application may give a source route"), SOURCE_ROUTE),
  notDone(must(52, "3.9.2.1", "Its route takes precedence over one received"), SOURCE_ROUTE),
  notDone(must(53, "3.9.2.1", "A received source route is used to answer"), SOURCE_ROUTE),
  must(54, "3.9.2.2", "ICMP errors reach the connection that they are about"),
  must(55, "3.9.2.2", "Source Quench is ignored"),
  mustNot(56, "3.9.2.2", "No soft ICMP error ends a connection"),
  must(57, "3.9.2.3", "Segments to a broadcast or multicast address are dropped"),
  must(58, "3.10.7.4", "One ACK serves several segments where it can"),
  must(59, "3.10.7.4", "All segments that wait are processed before an ACK is sent"),
  mustNot(60, "3.9.1.2", "Data is not held for ever because nobody asked to push it"),
  must(61, "3.9.1.2", "PSH stands on the last segment of what was written"),
  must(62, "3.8.5", "The urgent pointer names the octet behind the urgent data"),
  must(63, "3.9.2.3", "A SYN from an impossible source is ignored"),
  must(64, "3.2", "Options are read wherever they start"),
  mustNot(65, "3.2", "The maximum segment size stands in SYN only"),
  must(66, "3.4", "RST and URG are processed with a closed window"),
  must(67, "3.7.1", "The maximum segment size announced is what IP can receive, less the headers"),
  must(68, "3.1", "Every option but two has a length"),
  must(69, "3.1", "Options are padded with zeros"),
  should(1, "3.4.1", "Initial sequence numbers come from a keyed function of the connection's addresses"),
  should(2, "3.5.3", "RST may carry data"),
  should(3, "3.6.1", "Closing with unread data resets"),
  should(4, "3.6.1", "Timestamps cut TIME-WAIT short"),
  should(5, "3.7.1", "The maximum segment size is announced when it is not the default"),
  should(6, "3.7.3", "Segments follow the path's MTU as it changes"),
  should(7, "3.7.4", "Nagle's algorithm is on"),
  should(8, "3.8.2", "Explicit congestion notification"),
  should(9, "3.8.3", "Between R1 and R2 the application is told"),
  should(10, "3.8.3", "R1 is at least three retransmissions"),
  should(11, "3.8.3", "R2 is at least 100 seconds"),
  should(12, "3.8.4", "A keep-alive carries no data and the number before the next"),
  notApplicable(
    shouldNot(13, "3.8.5", "New applications use no urgent data"),
    "What applications do; the stack has it for those that exist",
  ),
  shouldNot(14, "3.8.6", "A receiver does not shrink its window"),
  shouldNot(15, "3.8.6", "Behind a shrunk window nothing new is sent"),
  should(16, "3.8.6", "What lies inside a shrunk window is sent again"),
  shouldNot(17, "3.8.6", "Data behind a shrunk window ends no connection"),
  should(18, "3.8.6.3", "ACKs are delayed"),
  should(19, "3.8.6.3", "At least every second full segment is acknowledged"),
  should(20, "3.9.1.8", "The application may switch error reports off"),
  should(21, "3.9.1.9", "The Differentiated Services field may change during a connection"),
  should(22, "3.9.1.9", "That field reaches the IP layer unchanged"),
  notApplicable(
    shouldNot(23, "3.9.2", "Applications leave that field alone during a connection"),
    "What applications do; the stack lets them (SHLD-21)",
  ),
  notDone(should(24, "3.9.2.1", "A later source route takes the place of an earlier one"), SOURCE_ROUTE),
  should(25, "3.9.2.2", "Soft ICMP errors are reported to the application"),
  {
    ...should(26, "3.9.2.2", "Hard ICMP errors end a connection"),
    asFar:
      "in a handshake. Behind it they are soft, as RFC 5927 section 5.2 asks, and Linux and FreeBSD have it",
  },
  should(27, "3.9.1.2", "Successive PSH flags become one"),
  should(28, "3.9.1.2", "Segments are as long as they can be"),
  should(29, "3.8.6.1", "The first probe of a closed window waits one retransmission timeout"),
  should(30, "3.8.6.1", "Each further probe waits twice as long"),
  should(31, "3.10.7.4", "What arrives out of order is kept"),
  may(1, "3.6.1", "One direction may be closed alone"),
  may(2, "3.6.1", "A SYN may open anew from TIME-WAIT"),
  may(3, "3.7.1", "The maximum segment size may always be announced"),
  may(4, "3.8.1", "A retransmission may have the same IP identification"),
  may(5, "3.8.4", "Keep-alives"),
  notDone(
    may(6, "3.8.4", "Keep-alives with one garbage octet"),
    "Only for peers of before 1989; those of ours carry nothing, as SHLD-12 asks",
  ),
  notDone(may(7, "3.8.6", "Old data behind a shrunk window may be sent again"), "SHLD-16 is done instead"),
  may(8, "3.8.6.1", "A window may stay closed for ever"),
  notDone(
    may(9, "3.9.1.9", "The Differentiated Services field received may be passed up"),
    "The socket interfaces that we keep to have no place for it",
  ),
  notDone(may(10, "3.9.2", "IP timestamp option"), "Routers drop it (RFC 7126); arriving ones are skipped"),
  notDone(
    may(11, "3.9.2", "IP record route option"),
    "Routers drop it (RFC 7126); arriving ones are skipped",
  ),
  may(12, "3.10.7.4", "ACKs of what was never sent, or long ago, are refused (RFC 5961)"),
  may(13, "3.10.7.4", "What arrives out of order is acknowledged at once"),
  notDone(may(14, "3.9.1.7", "FLUSH call"), "The socket interfaces that we keep to have none"),
  may(15, "3.9.1.2", "SEND may ask for a push"),
  may(16, "3.9.1.2", "Data that nobody asked to push may be gathered"),
  notDone(
    may(17, "3.9.1.3", "The application may learn of PSH"),
    "The socket interfaces that we keep to have no place for it",
  ),
  may(18, "3.8.2", "Another congestion control that conforms may be used"),
  {
    id: "REC-1",
    level: "SHOULD",
    section: "3.1",
    text: "Windows are kept in 32 bits",
  },
];
