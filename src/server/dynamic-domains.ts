import { setTimeout as wait } from 'node:timers/promises'
import type { Failure } from '../core/cluster.ts'
import type { Module } from '../core/module.ts'
import type { Server } from '../server.ts'
import { type DomainState, DomainStore } from '../storage/domain-store.ts'
import { removeDomain } from './domain-removal.ts'
import type { Steps } from './step.ts'

declare module '../core/cluster.ts' {
  interface Topics {
    /** The domains in the storage are others; all that was kept of one may be gone. */
    domains_changed: {
      readonly question: { readonly removed: string | null }
      readonly answer: null
    }
  }
}

export type DomainStates = ReadonlyMap<string, DomainState>

type Parts = {
  readonly server: Pick<
    Server,
    | 'config'
    | 'storage'
    | 'hooks'
    | 'accounts'
    | 'routes'
    | 'components'
    | 'log'
    | 'cluster'
    | 'startedAt'
  >
  readonly modules: () => readonly Module[]
  /** When no other change of the server is under way. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>
  /** All that the domains as they are now need. */
  readonly prepare: () => Promise<Steps>
}

/** `fixed`: a domain of the file; `taken`: something else is there. */
export type DomainErrorKind = 'fixed' | 'taken' | 'unknown' | 'removing'

export class DomainError extends Error {
  override readonly name = 'DomainError'
  readonly kind: DomainErrorKind

  constructor(kind: DomainErrorKind, message: string) {
    super(message)
    this.kind = kind
  }
}

type Removal = {
  readonly done: Promise<void>
  readonly watchers: Set<(rows: number) => void>
  rows: number
}

/** What only one node does at a time: to change domains, */
const CHANGE = 'domains'
/** and to remove one. */
const removalOf = (name: string) => `removal of ${name}`
/** How long until it is tried again to be the one that removes, milliseconds. */
const RETRY = 1_000

/**
 * Domains that come and go while the server runs. One node at a time changes them, from what the storage
 * has; then all others look there. Each that knows of a removal waits for its turn to do it, so one goes
 * on with it when another is lost.
 */
export class DynamicDomains {
  readonly #store: DomainStore
  #states: DomainStates = new Map()
  readonly #parts: Parts
  readonly #removals = new Map<string, Removal>()
  readonly #stopping = new AbortController()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#store = new DomainStore(parts.server.storage)
    parts.server.cluster.on('domains_changed', async ({ removed }) => {
      if (removed !== null) {
        parts.server.accounts.forgetDomain(removed)
        await parts.server.hooks.at('remove_domain').run(removed, {})
      }
      // Whoever has not started yet looks when it has.
      if (parts.server.startedAt > 0) await this.#follow()
      return null
    })
  }

  /** Besides those of the file, hosted or not. */
  get states(): DomainStates {
    return this.#states
  }

  /** Before the first plan is made. */
  async load(): Promise<void> {
    this.#states = await this.#store.all()
  }

  /** All domains of a server with these in its file, which are hosted whatever the storage says. */
  with(fixed: readonly string[]): {
    readonly domains: readonly string[]
    readonly closed: readonly string[]
  } {
    const added = [...this.#states].filter(([name]) => !fixed.includes(name))
    for (const name of fixed) {
      if (this.#states.get(name) !== 'removing') continue
      throw new DomainError('removing', `${name} is being removed`)
    }
    const named = (isHosted: boolean) =>
      added.filter(([, state]) => (state === 'enabled') === isHosted).map(([name]) => name)
    return { domains: [...fixed, ...named(true)], closed: named(false) }
  }

  /**
   * Throws `DomainError`, or why it cannot be hosted here. Resolves to the nodes that cannot do the same:
   * they go on as before until domains change again.
   */
  add(name: string): Promise<readonly Failure[]> {
    return this.#set(name, 'enabled', (state) => {
      if (state === 'removing') throw new DomainError('removing', `${name} is being removed`)
      if (state !== undefined) throw new DomainError('taken', `${name} is there already`)
    })
  }

  /** As `add`; also for one that is enabled, where a node could not follow. */
  enable(name: string): Promise<readonly Failure[]> {
    return this.#set(name, 'enabled', (state) => ensureThere(name, state))
  }

  /** Its sessions end, and stanzas for it go back; what is kept of it stays. Resolves as `add`. */
  disable(name: string): Promise<readonly Failure[]> {
    return this.#set(name, 'disabled', (state) => ensureThere(name, state))
  }

  /**
   * Removes it with all that is kept of it. Resolves to the number of rows. What is not removed when the
   * server stops is when it starts again.
   */
  async remove(name: string, onRows: (rows: number) => void): Promise<number> {
    const begin = async () => {
      await this.#set(name, 'removing', (state) => {
        if (state === undefined) ensureThere(name, state)
      })
    }
    const removal = this.#removal(
      name,
      this.#states.get(name) === 'removing' ? async () => {} : begin,
    )
    removal.watchers.add(onRows)
    try {
      await removal.done
    } finally {
      removal.watchers.delete(onRows)
    }
    return removal.rows
  }

  /** Once the server has started: what has changed since it looked, and removals that were broken off. */
  async catchUp(): Promise<void> {
    const { cluster, log } = this.#parts.server
    if (!cluster.isShared) return this.#resume()
    await this.#follow().catch((error) => log.error('domains_not_followed', { error }))
  }

  #resume(): void {
    for (const [name, state] of this.#states) {
      if (state !== 'removing') continue
      const { log } = this.#parts.server
      this.#removal(name, async () => {}).done.catch((error) => {
        if (!this.#stopping.signal.aborted) log.error('domain_not_removed', { domain: name, error })
      })
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the server stops; it goes on when it starts again'))
    await Promise.allSettled([...this.#removals.values()].map(({ done }) => done))
  }

  async #set(
    name: string,
    state: DomainState,
    check: (state: DomainState | undefined) => void,
  ): Promise<readonly Failure[]> {
    const { cluster, log } = this.#parts.server
    const change = (states: DomainStates): DomainStates => {
      check(states.get(name))
      return new Map([...states, [name, state]])
    }
    // No other change waits for the lock: who has to follow this one does that without.
    const failures = await cluster.exclusively(CHANGE, async () => {
      await this.#apply(change, () => this.#store.put(name, state))
      return await cluster.tell('domains_changed', { removed: null })
    })
    log.info('domain_changed', { domain: name, state })
    return failures
  }

  /** As other nodes have changed them. */
  async #follow(): Promise<void> {
    await this.#apply(
      (states) => states,
      async () => {},
    )
    this.#resume()
  }

  /**
   * Hosts others from now on than the storage says, once `persist` is done. `change` throws if that cannot
   * be.
   */
  #apply(
    change: (states: DomainStates) => DomainStates,
    persist: () => Promise<void>,
  ): Promise<void> {
    const { inTurn, prepare } = this.#parts
    return inTurn(async () => {
      const before = this.#states
      const after = change(await this.#store.all())
      for (const name of after.keys()) if (!before.has(name)) this.#ensureFree(name)
      this.#states = after
      try {
        const steps = await prepare()
        try {
          await persist()
        } catch (error) {
          await steps.abandon()
          throw error
        }
        await steps.commit()
        await steps.finish()
      } catch (error) {
        this.#states = before
        throw error
      }
    })
  }

  #ensureFree(name: string): void {
    const { config, routes, components } = this.#parts.server
    if (config.domains.includes(name)) {
      throw new DomainError('fixed', `${name} is a domain of the configuration file`)
    }
    if (routes.find(name) !== undefined || components.has(name)) {
      throw new DomainError('taken', `${name} is a service or a component`)
    }
  }

  /** The one that is under way, or one that begins with `begin`. */
  #removal(name: string, begin: () => Promise<void>): Removal {
    const underway = this.#removals.get(name)
    if (underway !== undefined) return underway
    const watchers = new Set<(rows: number) => void>()
    const onRemoved = (rows: number) => {
      removal.rows += rows
      for (const watch of watchers) watch(removal.rows)
    }
    const done = this.#remove(name, begin, onRemoved).finally(() => this.#removals.delete(name))
    const removal: Removal = { done, watchers, rows: 0 }
    this.#removals.set(name, removal)
    return removal
  }

  async #remove(
    name: string,
    begin: () => Promise<void>,
    onRemoved: (rows: number) => void,
  ): Promise<void> {
    const { signal } = this.#stopping
    // The first row is counted when somebody can watch.
    await Promise.resolve()
    let hasTurn = false
    const work = async () => {
      hasTurn = true
      signal.throwIfAborted()
      await begin()
      await this.#removeAlone(name, onRemoved)
    }
    // While another node is at it, the server can stop.
    const stopped = aborted(signal, () => hasTurn)
    stopped.catch(() => {})
    while (true) {
      signal.throwIfAborted()
      const done = this.#parts.server.cluster.exclusively(removalOf(name), work)
      try {
        return await Promise.race([done, stopped])
      } catch (error) {
        done.catch(() => {})
        if (hasTurn || signal.aborted) throw error
        await wait(RETRY, undefined, { signal })
      }
    }
  }

  async #removeAlone(name: string, onRemoved: (rows: number) => void): Promise<void> {
    const { server, modules } = this.#parts
    const { signal } = this.#stopping
    // Another node may have done it meanwhile.
    if ((await this.#store.all()).get(name) !== 'removing') return
    await removeDomain(name, { server, modules: modules(), onRemoved, signal })
    const without = (states: DomainStates) =>
      new Map([...states].filter(([other]) => other !== name))
    await server.cluster.exclusively(CHANGE, async () => {
      await this.#apply(without, () => this.#store.remove(name))
      await server.cluster.tell('domains_changed', { removed: name })
    })
    server.log.info('domain_removed', { domain: name })
  }
}

/** Rejects when `signal` is aborted, unless `isAtWork`: then whoever is ends by itself. */
function aborted(signal: AbortSignal, isAtWork: () => boolean): Promise<never> {
  return new Promise((_, reject) => {
    const onAbort = () => {
      if (!isAtWork()) reject(signal.reason)
    }
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
}

function ensureThere(name: string, state: DomainState | undefined): void {
  if (state === 'removing') throw new DomainError('removing', `${name} is being removed`)
  if (state === undefined)
    throw new DomainError('unknown', `${name} was not added; domains of the file change there`)
}
