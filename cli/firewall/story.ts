import { printRule } from "../../net/firewall/nft/text/print_statement.ts";
import { printStatement } from "../../net/firewall/nft/text/print_statement.ts";
import type { NftStep } from "../../net/firewall/nft/walk.ts";
import type { Judged } from "./judged.ts";

/** A rule, or a chain's policy, by its place: `inet filter input rule 3 (line 12)`. */
export function placeOf({ family, table, chain, index, rule }: NftStep): string {
  const where = `${family} ${table} ${chain}`;
  if (rule === undefined) return `${where} policy`;
  return `${where} rule ${index + 1}${rule.line === undefined ? "" : ` (line ${rule.line})`}`;
}

/** A rule as text; a policy as its verdict. */
export function textOf(step: NftStep): string {
  return step.rule === undefined ? `policy ${step.verdict}` : printRule(step.rule, step.family as "inet");
}

/** Every rule that was looked at, in words. */
export function storyOf({ stages, verdict, state, logs }: Judged): string {
  const lines: string[] = [];
  for (const { hook, explanation } of stages) {
    for (const step of explanation.steps) {
      lines.push(`${hook}: ${placeOf(step)}: ${textOf(step)}`);
      if (step.rule === undefined) continue;
      if (!step.matched) {
        const statement = step.rule.expr[step.statement ?? 0];
        const wanted = statement === undefined ? "" : printStatement(statement, step.family as "inet");
        lines.push(`  no: ${wanted}${step.found ? `, the packet has ${step.found}` : ""}`);
      } else lines.push(`  yes${step.verdict === undefined ? ", and on to the next" : `: ${step.verdict}`}`);
    }
  }
  for (const log of logs) lines.push(`log: ${log.prefix ?? ""}`);
  lines.push(`${verdict} (ct state ${state})`);
  return `${lines.join("\n")}\n`;
}

/** The step that decided, or undefined where no chain had anything to say. */
export function decidedBy({ stages, verdict }: Judged): NftStep | undefined {
  const steps = stages.flatMap(({ explanation }) => explanation.steps);
  return steps.findLast((step) =>
    step.matched && (step.verdict === verdict || step.verdict?.startsWith(verdict))
  );
}
