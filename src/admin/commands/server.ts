import { z } from 'zod'
import { counted, table } from '../../core/command-text.ts'
import { duration } from '../../core/config-types.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'
import { announceTo } from './message.ts'

export interface RunningServer {
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly listeners: readonly Listening[]
}

export type Listening = {
  /** Who connects there: `c2s`, `s2s`, … */
  readonly kind: string
  readonly address: string
  readonly port: number
  /** As configured: `starttls`, `required`, `direct`, `none`. */
  readonly tls: string
}

const status = defineCommand({
  name: 'status',
  description: 'Tell what runs: version, domains, listeners, numbers',
  permission: 'server:read',
  needsServer: true,
  args: z.strictObject({}),
  positional: [],
  examples: ['', '--json'],
  result: z.strictObject({
    version: z.string(),
    node: z.string().describe('Version of Node.'),
    pid: z.int(),
    started_at: z.iso.datetime(),
    domains: z.array(z.strictObject({ name: z.string(), accounts: z.int() })),
    sessions: z.int(),
    memory: z.int().describe('Resident, in bytes.'),
    listeners: z.array(
      z.strictObject({
        kind: z.string(),
        address: z.string(),
        port: z.int(),
        tls: z.string(),
      }),
    ),
  }),
  text: ({ version, node, pid, started_at, domains, sessions, memory, listeners }) =>
    table([
      ['meerkat', `${version} on Node ${node}, pid ${pid}`],
      ['running since', started_at],
      ...domains.map(({ name, accounts }) => [
        'domain',
        `${name}, ${counted(accounts, 'account')}`,
      ]),
      ...listeners.map(({ kind, address, port, tls }) => [
        `${kind} listener`,
        `${address} port ${port}, TLS ${tls}`,
      ]),
      ['sessions', String(sessions)],
      ['memory', `${Math.round(memory / 2 ** 20)} MiB`],
    ]),
  async run(context) {
    const { running, version, sessions } = context
    if (!running) throw new CommandError('unavailable', 'the server does not run')
    const domains = context.domains.map(async (name) => ({
      name,
      accounts: await context.accounts.count(name),
    }))
    return {
      version,
      node: process.versions.node,
      pid: process.pid,
      started_at: new Date(running.startedAt).toISOString(),
      domains: await Promise.all(domains),
      sessions: sessions.size,
      memory: process.memoryUsage.rss(),
      listeners: running.listeners.map(({ kind, address, port, tls }) => ({
        kind,
        address,
        port,
        tls,
      })),
    }
  },
})

/** Ends the process in which the server runs. */
export interface AdminProcess {
  /** In `delay` milliseconds. Given again, this takes the place of what was to be done before. */
  end(how: 'shutdown' | 'restart', delay: number): void
}

function ending(how: 'shutdown' | 'restart', description: string, done: string): Command {
  return defineCommand({
    name: how,
    description,
    permission: 'server:write',
    needsServer: true,
    args: z.strictObject({
      delay: duration({ max: '1d' })
        .prefault('0s')
        .describe('How long from now. Given again, the new delay counts.'),
      announcement: z
        .string()
        .min(1, 'a text')
        .max(60_000)
        .optional()
        .describe('Told to everybody who is connected, at once.'),
    }),
    positional: [],
    examples: ['', '--delay 5m --announcement "Back in ten minutes"'],
    result: z.strictObject({ at: z.iso.datetime(), sent: z.int() }),
    text: ({ at }) => `the server ${done} at ${at}`,
    async run(context, { delay, announcement }, call) {
      const { process } = context
      if (process === undefined) {
        throw new CommandError('unavailable', 'whoever has started this server ends it')
      }
      const body = announcement
      const sent = body === undefined ? 0 : await announceTo(context, { body }, call)
      process.end(how, delay)
      return { at: new Date(Date.now() + delay).toISOString(), sent }
    },
  })
}

export const serverCommands: readonly Command[] = [
  status,
  ending('shutdown', 'Stop the server; clients may resume when it is started again', 'stops'),
  ending('restart', 'Stop the server and start it anew, with its configuration', 'starts anew'),
]
