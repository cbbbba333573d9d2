import { type Cluster, lastRuns, type NodeRun } from '../core/cluster.ts'
import type { Fences } from '../core/fences.ts'
import { type Hooks, resultOf } from '../core/hooks.ts'
import type { LocalRoutes } from '../core/local-routes.ts'
import type { Logger } from '../core/log.ts'
import type { HandOff } from './hand-off.ts'
import { readHanded } from './hand-off-entries.ts'
import type { Locks } from './locks.ts'
import type { Members } from './members.ts'
import type { RemoteComponents } from './remote-components.ts'
import type { Revisions } from './revisions.ts'
import type { SessionTable } from './session-table.ts'
import { type Clock, keyOf, runOf } from './transport.ts'

declare module '../core/cluster.ts' {
  interface Topics {
    /** What was found at the place of lost nodes, named as in `Notes.handed`. */
    remains_found: { readonly question: readonly string[]; readonly answer: null }
    /**
     * One that was found there in nobody's hands, and others have as well. Answered when whoever gave it
     * to all of them has settled what becomes of it.
     */
    remains_returned: { readonly question: string; readonly answer: null }
  }
}

type Parts = {
  readonly self: () => NodeRun
  readonly clock: Clock
  readonly log: Logger
  readonly hooks: Hooks
  readonly routes: LocalRoutes
  readonly nodes: Pick<Cluster, 'on' | 'ask' | 'tell'>
  readonly members: Pick<
    Members,
    'remains' | 'others' | 'isKnown' | 'giveUpUnknown' | 'isCleaned' | 'cleaned'
  >
  readonly sessions: Pick<SessionTable, 'owners' | 'of' | 'removeLost'>
  readonly components: Pick<RemoteComponents, 'owners' | 'removeLost'>
  readonly locks: Pick<Locks, 'exclusively'>
  readonly revisions: Revisions
  readonly fences: Pick<Fences, 'shutOut'>
  /** After so long all who are alive have been heard of, milliseconds. */
  readonly lease: number
}

type LostHandOff = Pick<HandOff, 'settleRemains' | 'returned'>

type LostRun = {
  readonly run: NodeRun
  readonly handOff: LostHandOff
}

/** How long to wait before what failed is tried again, milliseconds. */
const RETRY = 1_000
/** When a node looks again what its last run has left, milliseconds after its start. */
const SECOND_LOOK = 10_000
/** Sessions of a lost node that are unregistered together. */
const AT_ONCE = 200

/**
 * Runs of nodes that are over, and what they have left: sessions, components, messages. One of those that are
 * there takes care of it, the same for all, and tells the others what it has found; each then decides about
 * what it had handed to that run and nobody has found.
 */
export class LostRuns {
  readonly #parts: Parts
  /** Of which something is left. */
  readonly #lost = new Map<string, LostRun>()
  /** Resolved when what it left is taken care of. */
  readonly #cleaned = new Map<string, PromiseWithResolvers<void>>()
  /**
   * Numbers of what this node had handed to a run, and whoever takes care of that has found. It may say so
   * before this node sees that the run is over.
   */
  readonly #found = new Map<string, Set<number>>()
  /** What this node has found, until the others know: what it has taken it does not find again. */
  readonly #untold = new Set<string>()
  readonly #cleaning = new Set<string>()
  readonly #underWay = new Set<Promise<void>>()
  #isReady = false

  constructor(parts: Parts) {
    this.#parts = parts
    const { nodes } = parts
    nodes.on('remains_found', (all) => {
      this.#note(all)
      return null
    })
    nodes.on('remains_returned', async (handed) => {
      const { to, number } = readHanded(handed)
      await this.#lost.get(to)?.handOff.returned(number)
      return null
    })
  }

  /** This node can take care of what others left, and begins with what is left by now. */
  async start(): Promise<void> {
    const { clock, lease } = this.#parts
    this.#isReady = true
    await this.#cleanUp()
    clock.after(lease, () => void this.#giveUpUnknown())
    clock.after(SECOND_LOOK, () => void this.#takeOverOwn())
  }

  stop(): void {
    this.#isReady = false
  }

  /** Resolves when what this node was taking over is its own. */
  async takenOver(): Promise<void> {
    await Promise.allSettled(this.#underWay)
  }

  /** Resolves when what a lost run left is taken care of; `undefined` if it is, or is not lost. */
  remainsOf(run: NodeRun): Promise<void> | undefined {
    return this.#cleaned.get(keyOf(run))?.promise
  }

  // --- What is heard.

  /** A run is over. False: all that it left is taken care of already. */
  onLost(run: NodeRun, handOff: LostHandOff): boolean {
    if (this.#parts.members.isCleaned(run)) {
      void handOff.settleRemains(this.#takeFound(run))
      return false
    }
    const key = keyOf(run)
    this.#lost.set(key, { run, handOff })
    this.#cleaned.set(key, Promise.withResolvers())
    return true
  }

  /** What a node, and its runs before, have left is taken care of. Returns those runs. */
  onCleaned({ node, epoch }: NodeRun): readonly NodeRun[] {
    const cleaned: NodeRun[] = []
    for (const [key, { run, handOff }] of this.#lost) {
      if (run.node !== node || run.epoch > epoch) continue
      this.#lost.delete(key)
      cleaned.push(run)
      const over = () => {
        this.#cleaned.get(key)?.resolve()
        this.#cleaned.delete(key)
      }
      const decided = handOff.settleRemains(this.#takeFound(run))
      if (decided instanceof Promise) decided.then(over, over)
      else over()
    }
    return cleaned
  }

  /** Whoever is to take care of what others left may have changed. */
  onNodeChange(): void {
    if (this.#isReady) this.#cleanUpSoon()
  }

  #note(found: readonly string[]): void {
    const own = keyOf(this.#parts.self())
    for (const { from, to, number } of found.map(readHanded)) {
      if (from !== own || this.#parts.members.isCleaned(runOf(to))) continue
      const numbers = this.#found.get(to) ?? new Set()
      this.#found.set(to, numbers.add(number))
    }
  }

  #takeFound(run: NodeRun): ReadonlySet<number> {
    const found = this.#found.get(keyOf(run)) ?? new Set()
    this.#found.delete(keyOf(run))
    return found
  }

  // --- What is done.

  /**
   * Nodes that nobody knows, and that have left something in the registry or in the storage: they were called
   * something else, or the registry was lost. They are given up as others are, and what follows is the same.
   * Who is alive has been heard of by now.
   */
  async #giveUpUnknown(): Promise<void> {
    const { hooks, log, locks, sessions, components, members } = this.#parts
    try {
      await locks.exclusively('orphans', async () => {
        const left = resultOf(await hooks.at('nodes_with_remains').run([], {}), [])
        for (const run of lastRuns([...sessions.owners, ...components.owners, ...left])) {
          if (!this.#isReady) return
          if (members.isKnown(run.node)) continue
          log.warn('cluster_node_unknown', { ...run })
          await members.giveUpUnknown(run)
        }
      })
    } catch (error) {
      log.warn('cluster_orphans_left', { error })
    }
  }

  /** What an earlier run of this node has still written when it was given up, paused or cut off. */
  async #takeOverOwn(): Promise<void> {
    const { node, epoch } = this.#parts.self()
    if (!this.#isReady) return
    try {
      await this.#takeOver({ node, epoch: epoch - 1 })
      await this.#tellFound()
    } catch (error) {
      this.#parts.log.warn('cluster_own_remains_left', { error })
    }
  }

  /** Takes care of what lost nodes left, as far as that is this node's turn. */
  #cleanUpSoon(): void {
    const work = this.#cleanUp().finally(() => this.#underWay.delete(work))
    this.#underWay.add(work)
  }

  async #cleanUp(): Promise<void> {
    const runs = this.#parts.members.remains.filter((run) => !this.#cleaning.has(keyOf(run)))
    if (runs.length === 0) return
    for (const run of runs) this.#cleaning.add(keyOf(run))
    try {
      for (const run of runs) await this.#takeOver(run)
      // What one of them had taken over from another is found before anybody decides about it.
      await this.#tellFound()
      for (const run of runs) {
        await this.#parts.members.cleaned(run)
        this.#parts.log.info('cluster_node_cleaned', { ...run })
      }
    } catch (error) {
      this.#parts.log.error('cluster_cleanup_failed', { runs, error })
      this.#parts.clock.after(RETRY, () => {
        if (this.#isReady) this.#cleanUpSoon()
      })
    } finally {
      for (const run of runs) this.#cleaning.delete(keyOf(run))
    }
  }

  async #tellFound(): Promise<void> {
    const found = [...this.#untold]
    this.#note(found)
    await this.#parts.nodes.tell('remains_found', found)
    for (const handed of found) this.#untold.delete(handed)
  }

  async #takeOver(run: NodeRun): Promise<void> {
    const remains = {
      ...run,
      unregister: () => this.#unregister(run),
      found: (handed: string) => {
        this.#untold.add(handed)
        return readHanded(handed).isShared
      },
      giveBack: async (handed: string) => {
        if (await this.#isAnsweredFor(handed)) return true
        this.#untold.add(handed)
        return false
      },
    }
    // From here on it has what it has.
    await this.#parts.fences.shutOut(run)
    await this.#parts.hooks.at('node_remains').run(remains, {})
    await this.#unregister(run)
    await this.#parts.components.removeLost(run)
  }

  /** Whether whoever handed it to several resources has settled what becomes of it. */
  async #isAnsweredFor(handed: string): Promise<boolean> {
    const { from, isShared } = readHanded(handed)
    if (!isShared) return false
    const origin = [this.#parts.self(), ...this.#parts.members.others].find(
      (run) => keyOf(run) === from,
    )
    if (origin === undefined) return false
    try {
      await this.#parts.nodes.ask(origin.node, 'remains_returned', handed)
      return true
    } catch {
      return false
    }
  }

  async #unregister(run: NodeRun): Promise<void> {
    const { hooks, routes, revisions, sessions } = this.#parts
    const rows = sessions.of(run)
    for (let i = 0; i < rows.length; i += AT_ONCE) {
      const some = rows.slice(i, i + AT_ONCE)
      const removals = some.map(({ key, row }) => this.#removeLost(key, row.revision))
      const removed = await Promise.all(removals)
      await revisions.seen(revisions.written)
      for (const [index, { row }] of some.entries()) {
        if (removed[index] !== true) continue
        const { resource } = row
        const domainType = routes.find(resource.jid.domain)?.domainType
        await hooks.at('session_cleanup', domainType).run(resource, {})
      }
    }
  }

  /** Tries until it is known whether the row is gone, for who asks has begun what cannot begin anew. */
  async #removeLost(key: string, revision: number): Promise<boolean> {
    while (true) {
      try {
        return await this.#parts.sessions.removeLost(key, revision)
      } catch (error) {
        if (!this.#isReady) throw error
        this.#parts.log.warn('session_row_not_removed', { error })
        await new Promise<void>((resolve) => void this.#parts.clock.after(RETRY, resolve))
      }
    }
  }
}
