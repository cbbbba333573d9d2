import { z } from 'zod'
import { counted, table } from '../../core/command-text.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'

/** This node among others. */
export interface AdminCluster {
  readonly nodes: readonly {
    readonly node: string
    readonly epoch: number
    readonly state: string
    readonly isSelf: boolean
    /** Milliseconds. */
    readonly silentFor: number
    readonly version: string
    readonly sessions: number
    readonly waiting: number
  }[]
  /**
   * Sends the clients of this node elsewhere. `onProgress` is told how many of how many are gone.
   * Resolves to how many of them may resume elsewhere, and how many were there.
   */
  drain(options: {
    readonly to: string | undefined
    /** Whose sessions go last: whoever asked is to hear how it ended. */
    readonly spare: string
    readonly onProgress: (done: number, total: number) => void
  }): Promise<{ readonly sessions: number; readonly resumable: number }>
}

const status = defineCommand({
  name: 'cluster status',
  description: 'List the nodes that serve the same domains',
  permission: 'server:read',
  needsServer: true,
  args: z.strictObject({}),
  positional: [],
  examples: [''],
  result: z.strictObject({
    nodes: z.array(
      z.strictObject({
        name: z.string(),
        state: z.string().describe('alive, leaving (it is drained or stops) or gone.'),
        is_self: z.boolean().describe('Whether this node answers.'),
        version: z.string(),
        sessions: z.int(),
        waiting: z.int().describe('What it was handed and has not acknowledged.'),
        silent_for: z.int().describe('Since it was last heard of, in milliseconds.'),
        epoch: z.int().describe('Of its present run; greater with each start.'),
      }),
    ),
  }),
  text: ({ nodes }) =>
    table(
      nodes.map(({ name, state, is_self, version, sessions, waiting, silent_for }) => [
        is_self ? `${name} (this node)` : name,
        state,
        version,
        counted(sessions, 'session'),
        `${waiting} waiting`,
        state === 'gone' || is_self ? '' : `heard of ${silent_for} ms ago`,
      ]),
    ),
  async run({ cluster }) {
    if (cluster === undefined) throw new CommandError('unavailable', 'the server does not run')
    return {
      nodes: cluster.nodes.map((node) => ({
        name: node.node,
        state: node.state,
        is_self: node.isSelf,
        version: node.version,
        sessions: node.sessions,
        waiting: node.waiting,
        silent_for: Math.round(node.silentFor),
        epoch: node.epoch,
      })),
    }
  },
})

const drain = defineCommand({
  name: 'drain',
  description: 'Send the clients and components of this node elsewhere, before it stops',
  permission: 'server:write',
  needsServer: true,
  args: z.strictObject({
    to: z
      .string()
      .min(1)
      .max(300)
      .optional()
      .describe('Where clients are told to go: a host, with a port if it is not the usual one.'),
  }),
  positional: [],
  examples: ['', '--to b.example.com:5222'],
  result: z.strictObject({ sessions: z.int(), resumable: z.int() }),
  text: ({ sessions, resumable }) =>
    `${counted(sessions, 'session')} sent elsewhere, ${resumable} of which may resume there; ` +
    'nothing new is accepted, the server may be stopped',
  async run({ cluster }, { to }, { progress, caller }) {
    if (cluster === undefined) throw new CommandError('unavailable', 'the server does not run')
    const onProgress = (done: number, total: number) => progress({ done, total, of: 'sessions' })
    return cluster.drain({ to, spare: caller.name, onProgress })
  },
})

export const clusterCommands: readonly Command[] = [status, drain]
