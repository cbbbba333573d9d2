import { z } from 'zod'
import { table } from '../../core/command-text.ts'
import { total } from '../../core/tally.ts'
import { type Command, defineCommand } from '../command.ts'
import { onlyNode, silenceText, silentNodes, talliesOf } from '../tallies.ts'

const listHooks = defineCommand({
  name: 'hook list',
  description: 'List the handlers of hooks in their order, how often they ran and failed',
  permission: 'server:read',
  needsServer: false,
  args: z.strictObject({
    name: z.string().optional().describe('Only of this hook.'),
    node: onlyNode,
  }),
  positional: ['name'],
  examples: ['', 'user_send_message'],
  result: z.strictObject({
    handlers: z.array(
      z.strictObject({
        hook: z.string(),
        by: z.string().describe('Who has registered it.'),
        order: z.number(),
        on_error: z.enum(['stop', 'skip']).describe('What an exception in it does.'),
        runs: z.int(),
        failures: z.int(),
      }),
    ),
    silent: silentNodes,
  }),
  text: ({ handlers, silent }) =>
    (table(
      handlers.map(({ hook, order, by, runs, failures }) => [
        hook,
        String(order),
        by,
        `${runs} runs`,
        `${failures} failed`,
      ]),
    ) || 'no handlers') + silenceText(silent),
  async run(context, { name, node }) {
    const { answers, silent } = await talliesOf(context, node)
    const { handlers } = total(answers.map(({ answer }) => answer))
    const meant = handlers.filter(({ hook }) => name === undefined || hook === name)
    return {
      handlers: meant.map(({ hook, by, order, onError, runs, failures }) => ({
        hook,
        by,
        order,
        on_error: onError,
        runs,
        failures,
      })),
      silent: [...silent],
    }
  },
})

export const hookCommands: readonly Command[] = [listHooks]
