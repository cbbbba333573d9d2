import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { spreadOf } from '../report.ts'
import { Server } from '../server.ts'
import { probed } from '../targets/meerkat.ts'
import { ACCOUNTS, ACTS, type Act } from './act.ts'
import type { Baseline, Costs } from './costs.ts'
import { countedIn, systemCalls, writesOf } from './counters.ts'

/**
 * Without the optimising compilers, what is allocated follows from the source alone: they remove
 * some of it, but when and where depends on how busy the machine is. The young generation has room
 * for all that a batch allocates.
 */
const NODE_OPTIONS = [
  ...['--expose-gc', '--min-semi-space-size=64', '--max-semi-space-size=64'],
  ...['--no-opt', '--no-maglev', '--no-flush-bytecode', '--no-lazy-feedback-allocation'],
]

/** The median of several: a timer may add something, a collection take something away. */
const BATCHES = 5
/** The least of them, for being woken more often can only add; strace makes each call dear. */
const TRACED_BATCHES = 3

/** Acts with the same setting share a server. */
export async function measure(say: (line: string) => void): Promise<Baseline> {
  const costs: Record<string, Costs> = {}
  for (const acts of Map.groupBy(ACTS, ({ setting }) => setting.variant).values()) {
    const directory = mkdtempSync(join(os.tmpdir(), 'meerkat-guard-'))
    const target = probed(NODE_OPTIONS)
    const [{ setting } = { setting: { variant: 'bare' } as const }] = acts
    const server = await Server.start(target, { setting, directory })
    try {
      await target.register?.({ directory }, ACCOUNTS.length)
      for (const act of acts) {
        costs[act.name] = await costsOf(act, server)
        say(act.name)
      }
    } finally {
      await server.stop()
      rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
    }
  }
  return costs
}

async function costsOf(act: Act, server: Server): Promise<Costs> {
  const { warmUp, batch, settles } = act
  const once = await act.begin(server.port)
  const repeat = async (times: number) => {
    for (let i = 0; i < times; i++) await once()
    if (settles !== undefined) await setTimeout(settles)
  }
  await repeat(warmUp)
  const each = (sum: number, digits: number) => Number((sum / batch / act.units).toFixed(digits))

  const allocated: number[] = []
  const writes: number[] = []
  for (let i = 0; i < BATCHES; i++) {
    // A collection first, so that none is due before the batch is over.
    const { used } = await server.ask('heap')
    const written = writesOf(server.pid)
    await repeat(batch)
    writes.push(writesOf(server.pid) - written)
    allocated.push((await server.ask('used')).bytes - used)
  }
  await server.ask('count promises')
  await repeat(batch)
  const promises = await server.ask('promises')
  const calls: number[] = []
  for (let i = 0; i < TRACED_BATCHES; i++) {
    const counted = await systemCalls(server.pid, () => repeat(batch))
    if (counted !== undefined) calls.push(countedIn(counted))
  }
  return {
    allocated: each(spreadOf(allocated)?.median ?? 0, 0),
    promises: each(promises.count, 2),
    writes: each(spreadOf(writes)?.median ?? 0, 2),
    ...(calls.length > 0 && { syscalls: each(Math.min(...calls), 2) }),
  }
}
