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
}

type Own = { readonly component: Component; revision: number; isGone: boolean }

const RETRY = 500

/** The components of all nodes: one row of the registry for each connection. */
export class RemoteComponents {
  readonly #parts: Parts
  readonly #own = new Map<string, Own>()
  readonly #remote = new Map<string, { readonly component: RemoteComponent; revision: number }>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  connected(component: Component): void {
    const own: Own = { component, revision: 0, isGone: false }
    this.#own.set(component.id, own)
    void this.#write(own)
  }

  changed(component: Component): void {
    const own = this.#own.get(component.id)
    if (own !== undefined && !own.isGone) void this.#write(own)
  }

  gone(component: Component): void {
    const own = this.#own.get(component.id)
    if (own === undefined) return
    own.isGone = true
    void this.#remove(own)
  }

  find(id: string): Component | undefined {
    const own = this.#own.get(id)
    return own?.isGone === false ? own.component : undefined
  }

  rewrite(): void {
    for (const own of this.#own.values()) void (own.isGone ? this.#remove(own) : this.#write(own))
  }

  onChange({ key, value, revision }: Change): void {
    const known = this.#remote.get(key)
    if (value === undefined) {
      if (known === undefined) return
      this.#remote.delete(key)
      this.#parts.table.unregister(known.component)
      return
    }
    const row = JSON.parse(value) as ComponentRow
    if (row.node === this.#parts.self().node) return
    if (known !== undefined) {
      known.revision = revision
      if (known.component.domains.join() === row.domains.join()) return
      this.#parts.table.unregister(known.component)
    }
    const component = new RemoteComponent(row, this.#parts)
    this.#remote.set(key, { component, revision })
    this.#parts.table.register(component, { onConflict: 'share', admit: () => true })
  }

  /** Removes those of a lost run. */
  async removeLost({ node, epoch }: NodeRun): Promise<void> {
    for (const [key, { component, revision }] of this.#remote) {
      const { owner } = component
      if (owner.node !== node || owner.epoch > epoch) continue
      try {
        await this.#parts.registry.remove(key, revision)
      } catch (error) {
        if (!(error instanceof RegistryConflict)) throw error
      }
    }
  }

  async #write(own: Own): Promise<void> {
    const { registry, self, clock } = this.#parts
    const { id, domains, isSubdomain, isHidden } = own.component
    const row: ComponentRow = { ...self(), id, domains, isSubdomain, isHidden }
    try {
      own.revision = await registry.put(keyOf(id), JSON.stringify(row), own.revision)
    } catch (error) {
      if (error instanceof RegistryConflict) {
        own.revision = (await registry.get(keyOf(id)))?.revision ?? 0
      }
      clock.after(RETRY, () => void this.#write(own))
      return
    }
    if (own.isGone) await this.#remove(own)
  }

  async #remove(own: Own): Promise<void> {
    const { registry, clock } = this.#parts
    const { id } = own.component
    if (own.revision === 0) return
    try {
      await registry.remove(keyOf(id), own.revision)
    } catch (error) {
      if (!(error instanceof RegistryConflict)) {
        clock.after(RETRY, () => void this.#remove(own))
        return
      }
    }
    this.#own.delete(id)
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
  readonly owner: NodeRun
  readonly #parts: Parts

  constructor({ id, domains, isSubdomain, isHidden, node, epoch }: ComponentRow, parts: Parts) {
    this.id = id
    this.domains = domains
    this.isSubdomain = isSubdomain
    this.isHidden = isHidden
    this.owner = { node, epoch }
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
