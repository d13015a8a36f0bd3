import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { ClassesFull, RuleClasses } from "../../../net/firewall/classes.ts";

/** The rules of class `number`, read back from the arrays. */
function rulesOf(classes: RuleClasses, number: number): number[] {
  const rules: number[] = [];
  for (let s = 0; s < classes.summaryWords; s++) {
    let at = classes.starts[number * classes.summaryWords + s]!;
    for (let word = 0; word < 32; word++) {
      if (!(classes.summary[number * classes.summaryWords + s]! & (1 << word))) continue;
      const bits = classes.words[at++]!;
      for (let bit = 0; bit < 32; bit++) if (bits & (1 << bit)) rules.push((s * 32 + word) * 32 + bit);
    }
  }
  return rules;
}

test("equal sets share a class and different ones never do, also when all hashes are equal", () => {
  for (const draw of [undefined, () => 0]) {
    const prng = new Prng(5);
    const classes = new RuleClasses(2_100, undefined, draw);
    const current = new Set<number>();
    const numberOf = new Map<string, number>();
    for (let step = 0; step < 600; step++) {
      const rule = prng.pick([0, 31, 32, 33, 1023, 1024, 1055, 1056, 2047, 2099]);
      if (current.delete(rule)) classes.remove(rule);
      else classes.add(rule), current.add(rule);
      const rules = [...current].sort((a, b) => a - b);
      const number = classes.intern();
      expect(rulesOf(classes, number)).toEqual(rules);
      expect(number).toBe(numberOf.get(rules.join()) ?? numberOf.size);
      numberOf.set(rules.join(), number);
    }
    expect(numberOf.size).toBeGreaterThan(100);
  }
});

test("words up to the limit are kept, one more is refused", () => {
  const classes = new RuleClasses(64, 3);
  classes.add(0);
  expect(classes.intern()).toBe(0); // 1 word
  classes.add(63);
  expect(classes.intern()).toBe(1); // 2 more
  classes.remove(63);
  expect(classes.intern()).toBe(0);
  classes.remove(0);
  expect(classes.intern()).toBe(2); // the empty set has none
  classes.add(1);
  expect(() => classes.intern()).toThrow(ClassesFull);
});
