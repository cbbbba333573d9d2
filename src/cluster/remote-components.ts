import { createHash } from 'node:crypto'
import type { NodeRun } from '../core/cluster.ts'
import type { Component } from '../core/components.ts'
import type { Envelope } from '../core/envelope.ts'
import type { Logger } from '../core/log.ts'
import { Outcome } from '../core/outcome.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { type StreamCondition, StreamError } from '../xmpp/stream-error.ts'
import type { HandOff } from './hand-off.ts'
import { type Change, type Clock, type Registry, RegistryConflict } from './transport.ts'

export const COMPONENT_PREFIX = 'component.'

/** Where the components of all nodes are known. */
export interface ComponentTable {
  register(
    component: Component,
    admission: { readonly onConflict: 'share'; readonly admit: () => boolean },
  ): unknown
  unregister(component: Component): void
}

type ComponentRow = NodeRun & {
  readonly id: string
  readonly domains: readonly string[]
  readonly isSubdomain: boolean
  readonly isHidden: boolean
}

type Parts = {
  readonly self: () => NodeRun
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Logger
  readonly table: ComponentTable
  readonly handOffTo: (run: NodeRun) => HandOff
  readonly closeRemote: (run: NodeRun, id: string, error: StreamError) => Promise<void>
  /** Whether a run is lost, and nothing that it left is to be taken care of any more. */
  readonly isCleaned: (run: NodeRun) => boolean
  /** Whether this node takes care of what that one has left. */
  readonly isCleaner: (node: string) => boolean
}

type Own = {
  readonly component: Component
  readonly key: string
  /** Of its row; 0 if it has none. */
  revision: number
  /** False: the row may be another than was heard. */
  isSure: boolean
  isDirty: boolean
  isWriting: boolean
  isGone: boolean
}

type Remote = {
  readonly component: RemoteComponent
  readonly text: string
  readonly revision: number
}

const RETRY = 500

/** The components of all nodes: one row of the registry for each connection. */
export class RemoteComponents {
  readonly #parts: Parts
  readonly #own = new Map<string, Own>()
  readonly #remote = new Map<string, Remote>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  connected(component: Component): void {
    const key = keyOf(component.id)
    const isOpen = { isDirty: false, isWriting: false, isGone: false }
    const own: Own = { component, key, revision: 0, isSure: true, ...isOpen }
    this.#own.set(key, own)
    void this.#write(own)
  }

  changed(component: Component): void {
    const own = this.#own.get(keyOf(component.id))
    if (own !== undefined && !own.isGone) void this.#write(own)
  }

  gone(component: Component): void {
    const own = this.#own.get(keyOf(component.id))
    if (own === undefined) return
    own.isGone = true
    void this.#write(own)
  }

  find(id: string): Component | undefined {
    const own = this.#own.get(keyOf(id))
    return own?.isGone === false ? own.component : undefined
  }

  rewrite(): void {
    for (const own of this.#own.values()) void this.#write(own)
  }

  onChange({ key, value, revision }: Change): void {
    const row = value === undefined ? undefined : (JSON.parse(value) as ComponentRow)
    const own = this.#own.get(key)
    if (own !== undefined) {
      if (row !== undefined || own.isGone || revision <= own.revision) return
      // Somebody has removed what is there still, or the registry has lost it.
      own.isSure = false
      void this.#write(own)
      return
    }
    if (value === undefined || row === undefined) return this.#drop(key)
    const known = this.#remote.get(key)
    if (known?.text === value) return void this.#remote.set(key, { ...known, revision })
    this.#drop(key)
    const { self, isCleaned, table } = this.#parts
    const isOfThisRun = row.node === self().node && row.epoch === self().epoch
    if (isOfThisRun || isCleaned(row)) return this.#removeStray(key, row.node, revision)
    const component = new RemoteComponent(row, this.#parts)
    this.#remote.set(key, { component, text: value, revision })
    table.register(component, { onConflict: 'share', admit: () => true })
  }

  /** A run is taken care of: whatever it may still have written is of nothing. */
  onCleaned(run: NodeRun): void {
    for (const [key, { revision }] of this.#of(run)) {
      this.#drop(key)
      this.#removeStray(key, run.node, revision)
    }
  }

  /** The runs of others that have some, each as often as it has. */
  get owners(): readonly NodeRun[] {
    return Array.from(this.#remote.values(), ({ component }) => component.owner)
  }

  /** Removes those of a lost run. */
  async removeLost(run: NodeRun): Promise<void> {
    for (const [key, { revision }] of this.#of(run)) {
      try {
        await this.#parts.registry.remove(key, revision)
      } catch (error) {
        if (!(error instanceof RegistryConflict)) throw error
      }
    }
  }

  #of({ node, epoch }: NodeRun): readonly (readonly [string, Remote])[] {
    return [...this.#remote].filter(([, { component }]) => {
      const { owner } = component
      return owner.node === node && owner.epoch <= epoch
    })
  }

  #drop(key: string): void {
    const known = this.#remote.get(key)
    if (known === undefined) return
    this.#remote.delete(key)
    this.#parts.table.unregister(known.component)
  }

  /** Whoever sees it next tries again, should it not succeed. */
  #removeStray(key: string, node: string, revision: number): void {
    const { registry, self, isCleaner } = this.#parts
    if (node !== self().node && !isCleaner(node)) return
    registry.remove(key, revision).catch(() => {})
  }

  /** Until the row is as it should be. */
  async #write(own: Own): Promise<void> {
    own.isDirty = true
    if (own.isWriting) return
    own.isWriting = true
    try {
      while (own.isDirty) {
        own.isDirty = false
        await this.#writeOnce(own)
      }
      if (own.isGone) this.#own.delete(own.key)
    } catch {
      this.#parts.clock.after(RETRY, () => void this.#write(own))
    } finally {
      own.isWriting = false
    }
  }

  async #writeOnce(own: Own): Promise<void> {
    const { registry, self } = this.#parts
    const { component, key } = own
    if (!own.isSure) {
      const current = await registry.get(key)
      own.revision = current?.revision ?? 0
      if (own.isGone && current?.value === undefined) return
    }
    own.isSure = false
    if (own.isGone) {
      if (own.revision > 0) await registry.remove(key, own.revision)
    } else {
      const { id, domains, isSubdomain, isHidden } = component
      const row: ComponentRow = { ...self(), id, domains, isSubdomain, isHidden }
      own.revision = await registry.put(key, JSON.stringify(row), own.revision)
    }
    own.isSure = true
  }
}

function keyOf(id: string): string {
  return COMPONENT_PREFIX + createHash('sha256').update(id).digest('base64url').slice(0, 27)
}

/** A component that is connected to another node. */
class RemoteComponent implements Component {
  readonly id: string
  readonly domains: readonly string[]
  readonly isSubdomain: boolean
  readonly isHidden: boolean
  readonly isLocal = false
  readonly clusterNode: string
  readonly owner: NodeRun
  readonly #parts: Parts

  constructor({ id, domains, isSubdomain, isHidden, node, epoch }: ComponentRow, parts: Parts) {
    this.id = id
    this.domains = domains
    this.isSubdomain = isSubdomain
    this.isHidden = isHidden
    this.owner = { node, epoch }
    this.clusterNode = node
    this.#parts = parts
  }

  handle(envelope: Envelope): Outcome {
    if (!this.#parts.handOffTo(this.owner).deliverToComponent(this.id, envelope)) {
      throw new StanzaError('remote-server-timeout')
    }
    return new Outcome('forwarded', 'external', this.owner.node)
  }

  /** Only its own node knows what it was asked. */
  awaits(): boolean {
    return false
  }

  close(error: StreamError): Promise<void> {
    return this.#parts.closeRemote(this.owner, this.id, error)
  }
}

/** A stream error as a question has it. */
export type StreamErrorText = { readonly condition: string; readonly text: string | null }

export function toText(error: StreamError): StreamErrorText {
  return { condition: error.condition, text: error.text ?? null }
}

export function fromText({ condition, text }: StreamErrorText): StreamError {
  return new StreamError(condition as StreamCondition, text ?? undefined)
}
