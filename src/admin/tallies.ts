import { z } from 'zod'
import type { Everywhere } from '../core/everywhere.ts'
import type { Tally } from '../core/tally.ts'
import { CommandError } from './command.ts'
import type { AdminContext } from './context.ts'

/** What is counted on the route, on all nodes of a cluster. */
export interface AdminTallies {
  /** Of all nodes, or of one. Does not reject. */
  of(node?: string): Promise<Everywhere<Tally>>
}

/** The argument by which one node is meant. */
export const onlyNode = z
  .string()
  .min(1)
  .max(300)
  .optional()
  .describe('Only of this node; of all together unless told.')

/** The field that tells whose numbers these are not. */
export const silentNodes = z
  .array(z.string())
  .describe('Nodes that did not answer, and are not counted.')

/** Throws CommandError when a node is named that is not there. */
export async function talliesOf(
  { tallies }: Pick<AdminContext, 'tallies'>,
  node: string | undefined,
): Promise<Everywhere<Tally>> {
  const found = await tallies.of(node)
  if (node === undefined || found.answers.length > 0) return found
  throw new CommandError('not-found', `there is no node ${node}, or it does not answer`)
}

export function silenceText(silent: readonly string[]): string {
  return silent.length === 0 ? '' : `\nwithout ${silent.join(', ')}: no answer`
}
