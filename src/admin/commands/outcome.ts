import { z } from 'zod'
import { table } from '../../core/command-text.ts'
import { total } from '../../core/tally.ts'
import { type Command, defineCommand } from '../command.ts'
import { onlyNode, silenceText, silentNodes, talliesOf } from '../tallies.ts'

const listOutcomes = defineCommand({
  name: 'outcome list',
  description: 'Tell what became of stanzas since the start, and who decided that',
  permission: 'server:read',
  needsServer: true,
  args: z.strictObject({ node: onlyNode }),
  positional: [],
  examples: ['', '--node a'],
  result: z.strictObject({
    outcomes: z.array(z.strictObject({ by: z.string(), fate: z.string(), stanzas: z.int() })),
    silent: silentNodes,
  }),
  text: ({ outcomes, silent }) =>
    (table(outcomes.map(({ fate, by, stanzas }) => [fate, by, String(stanzas)])) ||
      'no stanzas yet') + silenceText(silent),
  async run(context, { node }) {
    const { answers, silent } = await talliesOf(context, node)
    const { outcomes } = total(answers.map(({ answer }) => answer))
    const rows = Object.entries(outcomes).flatMap(([by, fates]) =>
      Object.entries(fates).map(([fate, stanzas]) => ({ by, fate, stanzas })),
    )
    return { outcomes: rows.filter(({ stanzas }) => stanzas > 0), silent: [...silent] }
  },
})

export const outcomeCommands: readonly Command[] = [listOutcomes]
