import { expect, test } from "vitest";
import { type GroupQuery, GROUPS_MAX, Membership, QUERIED_SOURCES_MAX } from "../../../net/ip/membership.ts";

const RECORD_NAMES = ["", "is-in", "is-ex", "to-in", "to-ex"];
const A = 0xe700_0001 | 0;
const B = 0xe700_0002 | 0;
const nameOf = (group: number): string => group === A ? "A" : group === B ? "B" : `${group}`;

/** One interface whose random delays are half of what they may be. */
class World {
  nowMs = 1_000_000;
  readonly startMs = this.nowMs;
  said: string[] = [];
  readonly membership = new Membership({
    report: (records) => {
      const text = records.map(({ type, group, sources }) =>
        `${RECORD_NAMES[type]} ${nameOf(group)}${sources.length > 0 ? ` {${sources}}` : ""}`
      );
      this.#say(text.join(", "));
    },
    reportOld: (group, version) => this.#say(`v${version} ${nameOf(group)}`),
    leaveOld: (group) => this.#say(`leave ${nameOf(group)}`),
  }, (limit) => Math.floor(limit / 2) - 1);

  #say(text: string): void {
    this.said.push(`${this.nowMs - this.startMs} ${text}`);
  }
  join(group: number): boolean {
    return this.membership.join(group, this.nowMs);
  }
  leave(group: number): void {
    this.membership.leave(group, this.nowMs);
  }
  query(fields: Partial<GroupQuery> = {}): void {
    this.membership.query({
      version: 3,
      group: 0,
      sources: [],
      responseMs: 10_000,
      robustness: 2,
      intervalMs: 125_000,
      ...fields,
    }, this.nowMs);
  }
  /** Lets time pass and returns what was said, with its time since the start. */
  wait(ms: number): string[] {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const nextMs = this.membership.nextDeadlineMs();
      if (nextMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, nextMs);
      this.membership.advance(this.nowMs);
    }
    this.nowMs = untilMs;
    return this.said.splice(0);
  }
}

test("joining and leaving are said at once and again within a second, by the first and the last (RFC 3376 section 5.1)", () => {
  const w = new World();
  w.join(A);
  w.join(A);
  expect([w.wait(5_000), w.membership.isMember(A)]).toEqual([["0 to-ex A", "500 to-ex A"], true]);
  w.leave(A);
  expect([w.wait(5_000), w.membership.isMember(A)]).toEqual([[], true]);
  w.leave(A);
  expect(w.membership.isMember(A)).toBe(false);
  expect(w.wait(5_000)).toEqual(["10000 to-in A", "10500 to-in A"]);
  w.leave(A);
  w.leave(B);
  expect([w.wait(100_000), w.membership.nextDeadlineMs()]).toEqual([[], Infinity]);
});

test("a change that follows another takes its place: what is no longer true is not said again", () => {
  const w = new World();
  w.join(A);
  w.leave(A);
  w.join(A);
  expect(w.wait(5_000)).toEqual(["0 to-ex A", "0 to-in A", "0 to-ex A", "500 to-ex A"]);
});

test("the querier's robustness says how often", () => {
  const w = new World();
  w.query({ robustness: 4 });
  w.wait(20_000);
  w.join(A);
  expect(w.wait(5_000).length).toBe(4);
  w.query({ robustness: 0 }); // does not say: the default
  w.wait(20_000);
  w.join(B);
  expect(w.wait(5_000).length).toBe(2);
});

test("a general query is answered once, for all groups, within its time; an earlier answer serves a later query (section 5.2)", () => {
  const w = new World();
  w.query();
  expect(w.wait(20_000)).toEqual([]); // in no group: nothing to say
  w.join(A);
  w.join(B);
  w.wait(10_000);
  w.query();
  expect(w.wait(1_000)).toEqual([]);
  w.query({ responseMs: 60_000 });
  expect(w.wait(60_000)).toEqual(["35000 is-ex A, is-ex B"]);
  w.query();
  w.query({ responseMs: 1_000 }); // sooner
  expect(w.wait(60_000)).toEqual(["91500 is-ex A, is-ex B"]);
});

test("a query about a group, and about sources of it (section 5.2, rules 3 to 5)", () => {
  const w = new World();
  w.join(A);
  w.wait(10_000);
  w.query({ group: B });
  expect(w.wait(10_000)).toEqual([]);
  w.query({ group: A, responseMs: 1_000 });
  expect(w.wait(10_000)).toEqual(["20500 is-ex A"]);
  w.query({ group: A, sources: [1, 2], responseMs: 1_000 });
  w.query({ group: A, sources: [2, 3], responseMs: 2_000 });
  expect(w.wait(10_000)).toEqual(["30500 is-in A {1,2,3}"]);
  w.query({ group: A, sources: [1], responseMs: 1_000 });
  w.query({ group: A, responseMs: 2_000 });
  expect(w.wait(10_000)).toEqual(["40500 is-ex A"]);
  w.query({ group: A, responseMs: 2_000 });
  w.query({ group: A, sources: [1], responseMs: 1_000 });
  expect(w.wait(10_000)).toEqual(["50500 is-ex A"]);
  const many = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
  w.query({ group: A, sources: many(QUERIED_SOURCES_MAX) });
  expect(w.wait(10_000)).toEqual([`65000 is-in A {${many(QUERIED_SOURCES_MAX)}}`]);
  w.query({ group: A, sources: many(QUERIED_SOURCES_MAX + 1) });
  expect(w.wait(10_000)).toEqual(["75000 is-ex A"]);
  w.query({ responseMs: 1_000 });
  w.query({ group: A, responseMs: 9_000 }); // the general answer comes first
  expect(w.wait(10_000)).toEqual(["80500 is-ex A"]);
});

test("while an IGMPv2 router is heard, version 2 is spoken; others' reports make ours needless (RFC 3376 section 7.2, RFC 2236)", () => {
  const w = new World();
  w.join(A);
  w.join(B); // the repetitions of these changes are dropped with the version
  w.query({ version: 2, robustness: 0, intervalMs: 0 });
  expect(w.wait(10_000)).toEqual(["0 to-ex A", "0 to-ex B", "5000 v2 A", "5000 v2 B"]);
  w.query({ version: 2 });
  w.membership.heardReport(B, w.nowMs);
  expect(w.wait(10_000)).toEqual(["15000 v2 A"]);
  w.leave(A);
  w.leave(B); // somebody else spoke last
  expect(w.wait(10_000)).toEqual(["20000 leave A"]);
  w.join(A);
  expect(w.wait(20_000)).toEqual(["30000 v2 A", "35000 v2 A"]);
  // 2 * 125 s + 10 s after its last query it is forgotten.
  w.wait(10_000 + 260_000 - 50_000 - 1);
  w.leave(A);
  expect(w.wait(0)).toEqual(["269999 leave A"]);
  w.wait(1);
  w.join(A);
  expect(w.wait(5_000)).toEqual(["270000 to-ex A", "270500 to-ex A"]);
});

test("while an IGMPv1 router is heard, version 1 is spoken, which has no leaving", () => {
  const w = new World();
  w.query({ version: 2 });
  w.query({ version: 1 });
  w.join(A);
  expect(w.wait(10_000)).toEqual(["0 v1 A", "5000 v1 A"]);
  w.leave(A);
  expect([w.wait(20_000), w.membership.groups()]).toEqual([[], []]);
});

test("an interface is in at most 1,024 groups", () => {
  const w = new World();
  for (let at = 0; at < GROUPS_MAX; at++) expect(w.join(A + at)).toBe(true);
  expect(w.join(A + GROUPS_MAX)).toBe(false);
  w.leave(A);
  w.wait(1_000);
  expect(w.join(A + GROUPS_MAX)).toBe(true);
});
