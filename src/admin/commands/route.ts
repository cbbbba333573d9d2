import { z } from 'zod'
import { table } from '../../core/command-text.ts'
import { total } from '../../core/tally.ts'
import { type Command, defineCommand } from '../command.ts'
import { onlyNode, silenceText, silentNodes, talliesOf } from '../tallies.ts'

const listStages = defineCommand({
  name: 'route list',
  description: 'List the stages of the route, and how many stanzas came to each since the start',
  permission: 'server:read',
  needsServer: true,
  args: z.strictObject({ node: onlyNode }),
  positional: [],
  examples: ['', '--node a'],
  result: z.strictObject({
    stages: z.array(
      z.strictObject({
        name: z.string(),
        stanzas: z.int(),
        timed: z.int().describe('How many of them were timed: those that somebody follows.'),
        mean_ms: z
          .number()
          .nullable()
          .describe('What these took on average, with all that came behind this stage.'),
      }),
    ),
    silent: silentNodes,
  }),
  text: ({ stages, silent }) =>
    table(
      stages.map(({ name, stanzas, mean_ms }) => [
        name,
        `${stanzas} stanzas`,
        mean_ms === null ? '' : `${mean_ms} ms`,
      ]),
    ) + silenceText(silent),
  async run(context, { node }) {
    const { answers, silent } = await talliesOf(context, node)
    const { stages } = total(answers.map(({ answer }) => answer))
    return {
      stages: stages.map(({ name, stanzas, timed, milliseconds }) => ({
        name,
        stanzas,
        timed,
        mean_ms: timed === 0 ? null : Math.round((milliseconds / timed) * 1000) / 1000,
      })),
      silent: [...silent],
    }
  },
})

export const routeCommands: readonly Command[] = [listStages]
