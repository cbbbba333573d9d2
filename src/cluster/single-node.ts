import type {
  Answer,
  Cluster,
  Failure,
  NodeStatus,
  Question,
  Topic,
  TopicHandler,
} from '../core/cluster.ts'
import { ClusterError, lastRuns } from '../core/cluster.ts'
import { type Hooks, resultOf } from '../core/hooks.ts'
import { Lanes } from '../core/lanes.ts'

const NOBODY: readonly Failure[] = []

/** Under which name a node alone keeps what outlives it. */
const NAME = 'local'

/** A server alone: there is nobody to ask or to tell, and what it left is its own. */
export class SingleNode implements Cluster {
  readonly self = { node: NAME, epoch: Date.now() }
  readonly isShared = false
  readonly #hooks: Hooks
  readonly #version: string
  readonly #sessions: { readonly size: number }
  readonly #lanes = new Lanes()
  readonly #handlers = new Map<Topic, TopicHandler<Topic>>()

  constructor(hooks: Hooks, version: string, sessions: { readonly size: number }) {
    this.#hooks = hooks
    this.#version = version
    this.#sessions = sessions
  }

  get nodes(): readonly NodeStatus[] {
    const { self } = this
    const numbers = { silentFor: 0, sessions: this.#sessions.size, waiting: 0 }
    return [{ ...self, state: 'alive', isSelf: true, version: this.#version, ...numbers }]
  }

  opened(): undefined {}
  changed(): void {}
  released(): void {}
  closed(): undefined {}
  componentConnected(): void {}
  componentChanged(): void {}
  componentGone(): void {}

  on<T extends Topic>(topic: T, handler: TopicHandler<T>): () => void {
    const known = handler as unknown as TopicHandler<Topic>
    this.#handlers.set(topic, known)
    return () => {
      if (this.#handlers.get(topic) === known) this.#handlers.delete(topic)
    }
  }

  async ask<T extends Topic>(node: string, topic: T, question: Question<T>): Promise<Answer<T>> {
    if (node !== NAME) throw new ClusterError('lost', `there is no node ${node}`)
    const handler = this.#handlers.get(topic)
    if (handler === undefined) throw new ClusterError('unknown', `nobody answers ${topic}`)
    return (await handler(question as Question<Topic>, NAME)) as Answer<T>
  }

  tell(): readonly Failure[] {
    return NOBODY
  }

  isTakenCareOf(): boolean {
    return true
  }

  forward(): boolean {
    return false
  }

  async exclusively<R>(key: string, work: () => Promise<R>): Promise<R> {
    return this.#lanes.run(key, work)
  }

  async agreeOn(_name: string, proposal: string): Promise<string> {
    return proposal
  }

  async start(): Promise<void> {
    const { node, epoch } = this.self
    const nobody = { unregister: async () => {}, found: () => false, giveBack: async () => false }
    const left = resultOf(await this.#hooks.at('nodes_with_remains').run([], {}), [])
    // What it was called as long as it was one of several, it is not any more.
    for (const { node: name, epoch: last } of lastRuns(left)) {
      const before = name === node ? epoch - 1 : last
      await this.#hooks.at('node_remains').run({ node: name, epoch: before, ...nobody }, {})
    }
  }

  async drain(): Promise<void> {}

  async closeIntake(): Promise<void> {}

  async handedOver(): Promise<void> {}

  async leave(): Promise<void> {}
}
