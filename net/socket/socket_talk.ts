/**
 * Who stands between a program and its {@linkcode StackSocket}: hears what both sides say, may hold back what the program
 * has not read yet, and may keep from the peer what the program says.
 */
export interface SocketTalk {
  /** Whether the program is given nothing more for now. Whoever changes that calls `StackSocket.readOn`. */
  readonly holds: boolean;
  /** The program is about to hear `bytes` of the peer's. */
  heard(bytes: Uint8Array): void;
  /**
   * The program says `bytes`.
   * @returns What of it goes to the peer.
   */
  said(bytes: Uint8Array): Uint8Array;
  /** What the program said last is TCP's now. */
  sent(): void;
}
