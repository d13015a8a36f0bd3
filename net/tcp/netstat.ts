/**
 * What the TCP of a stack has counted since it started, all connections together. Linux shows the same under these
 * names in /proc/net/netstat.
 */
export class TcpCounters {
  /** Handshakes that began with a cookie, ended with one, and ACKs that looked like one and were none. */
  syncookiesSent = 0;
  syncookiesRecv = 0;
  syncookiesFailed = 0;
  /** SYNs that found the SYN queue full, and went without a cookie. */
  reqQFullDrop = 0;
  /** SYNs and handshake ACKs that found the accept queue full. */
  listenOverflows = 0;
  /** Half-open passive connections that a RST or a SYN ended. */
  embryonicRsts = 0;
  challengeAck = 0;
  /** Challenge ACKs that the rate limits swallowed. */
  ackSkippedChallenge = 0;
  /** Connections that found no room in TIME-WAIT. */
  timeWaitOverflow = 0;
  /** Connections in TIME-WAIT whose place a new one took. */
  twRecycled = 0;
  /** Connections opened with data in our SYN, and those whose data had to go again. */
  fastOpenActive = 0;
  fastOpenActiveFail = 0;
  /** Connections opened on a peer's SYN alone; cookies that were wrong; SYNs that ask for one; a full queue. */
  fastOpenPassive = 0;
  fastOpenPassiveFail = 0;
  fastOpenCookieReqd = 0;
  fastOpenListenOverflow = 0;
  /** How often Fast Open went off because data vanished. */
  fastOpenBlackhole = 0;
  /** ICMP errors about what was never sent, or is acknowledged (RFC 5927 section 4.1). */
  outOfWindowIcmps = 0;
  /** Claims of routers that a packet was too big which had to wait for proof (RFC 5927 section 7.2). */
  tooBigWaited = 0;
  /** Segments that lie beyond the window that was offered. */
  beyondWindow = 0;
  /** Segments with data that found the window closed. */
  zeroWindowDrop = 0;
  /**
   * Segments dropped because the memory of all connections was used up: next in line, and out of order; connections
   * that their application had left, and that were ended for that.
   */
  rcvQDrop = 0;
  ofoDrop = 0;
  abortOnMemory = 0;
  /** Keep-alive probes sent, for sleepers too. */
  keepAlive = 0;
  /** SYN-ACKs that echo no timestamp of ours. */
  pawsActive = 0;
}
