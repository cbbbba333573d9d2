import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { callCommand } from '../../src/admin/control-client.ts'
import { NatsServer } from '../support/nats.ts'
import { PostgresServer } from '../support/postgres.ts'
import { Relay } from '../support/relay.ts'
import { DOMAIN } from './client.ts'
import type { ClusterPlan, Fault, Severance } from './plan.ts'
import { configuration, createAccounts, ServerProcess } from './server-process.ts'
import { type Door, type Stage, type StageOptions, untilThere } from './stage.ts'

/** Debian: faketime. */
const LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1'
export const canSkew = existsSync(LIBRARY)

/** How long a client waits for a node, milliseconds. */
const PATIENCE = 8_000
/** How long a node is tried to be started, milliseconds, and how long between. */
const START_PATIENCE = 90_000
const START_RETRY = 250
/** How long a node that was away may take to learn that it was given up, milliseconds. */
const LEARNING = 2_000
const AGREEMENT_PATIENCE = 30_000

type Node = {
  readonly name: string
  readonly process: ServerProcess
  /** Between it and NATS. */
  readonly relays: readonly Relay[]
}

type ClusterDoor = Door & { home: number; node: number }

/** Several nodes, on NATS and PostgreSQL of their own. */
export class ClusterStage implements Stage {
  readonly directory: string
  readonly figures = {
    'nodes killed': 0,
    'nodes stopped': 0,
    'nodes drained': 0,
    'nodes paused': 0,
    'nodes severed': 0,
    'runs given up': 0,
    'NATS killed': 0,
    'PostgreSQL killed': 0,
  }
  readonly #options: StageOptions
  readonly #plan: ClusterPlan
  readonly #stack = new AsyncDisposableStack()
  readonly #nodes: Node[] = []
  #nats: readonly NatsServer[] = []
  #postgres: PostgresServer | undefined
  readonly #doors: ClusterDoor[] = []
  /** What nodes need to start is away, or their ways to it: so many faults. */
  #outages = 0
  /** Parts to which something happens. */
  readonly #busy = new Set<string>()
  #isOver = false

  private constructor(directory: string, options: StageOptions, plan: ClusterPlan) {
    this.directory = directory
    this.#options = options
    this.#plan = plan
  }

  static async create(options: StageOptions, plan: ClusterPlan): Promise<ClusterStage> {
    const directory = await mkdtemp(join(tmpdir(), 'meerkat-loss-'))
    const stage = new ClusterStage(directory, options, plan)
    try {
      await stage.#build()
    } catch (error) {
      await stage[Symbol.asyncDispose]()
      throw error
    }
    return stage
  }

  async #build(): Promise<void> {
    const { plan } = this.#options
    const [postgres, nats] = await Promise.all([
      PostgresServer.start({ synchronous_commit: 'on' }),
      NatsServer.startCluster(this.#plan.nats),
    ])
    this.#postgres = this.#stack.use(postgres)
    this.#nats = nats
    for (const server of nats) this.#stack.use(server)
    const url = await postgres.createSchema('loss')
    const text = `${configuration(plan)}\n[storage]\nurl = "${url}"\n`
    await createAccounts(this.directory, text, plan)
    for (let index = 0; index < this.#plan.nodes; index++) await this.#addNode(index, text)
  }

  async #addNode(index: number, text: string): Promise<void> {
    const { main } = this.#options
    const name = `n${index}`
    const to = this.#nats.map(({ port }) => ({ host: '127.0.0.1', port }))
    const relays = await Promise.all(to.map((server) => Relay.start(server)))
    for (const relay of relays) this.#stack.use(relay)
    const urls = relays.map(({ address }) => `"nats://127.0.0.1:${address.port}"`)
    const cluster =
      `[cluster]\nnats = [${urls.join(', ')}]\nnode = "${name}"\n` +
      `lease = "${this.#plan.lease}ms"\nreplicas = ${this.#plan.nats}\n`
    const process = await ServerProcess.create({
      directory: join(this.directory, name),
      configuration: text + cluster,
      main,
      environment: clock(this.#plan.clocks[index] ?? 0),
      onDeath: (reason) => this.#died(node, reason),
      onFenced: () => this.#fenced(node),
    })
    const node: Node = { name, process: this.#stack.use(process), relays }
    this.#nodes.push(node)
  }

  async start(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => this.#startNode(node)))
  }

  door(index: number): Door {
    const home = index % this.#nodes.length
    const door: ClusterDoor = {
      home,
      node: home,
      patience: PATIENCE,
      address: () => untilThere(() => this.#portFor(door)),
      move(node) {
        door.home = node
      },
      onForsaken() {},
    }
    this.#doors.push(door)
    return door
  }

  /** Of its node, or of the next that listens. */
  #portFor(door: ClusterDoor): number | undefined {
    for (let step = 0; step < this.#nodes.length; step++) {
      const at = (door.home + step) % this.#nodes.length
      const port = this.#nodes[at]?.process.port
      if (port === undefined) continue
      door.node = at
      return port
    }
    return undefined
  }

  claim(fault: Fault): boolean {
    const part = partOf(fault)
    if (this.#busy.has(part)) return false
    this.#busy.add(part)
    return true
  }

  async happen(fault: Fault): Promise<void> {
    try {
      await this.#happen(fault)
    } finally {
      this.#busy.delete(partOf(fault))
    }
  }

  async #happen(fault: Fault): Promise<void> {
    switch (fault.what) {
      case 'kill database':
        return await this.#killDatabase(fault.away)
      case 'kill nats':
        return await this.#killNats(fault.node, fault.away)
      case 'lock':
      case 'fill':
        throw new Error('nodes have no disk')
    }
    const node = this.#nodes[fault.node ?? 0] as Node
    switch (fault.what) {
      case 'kill':
        return await this.#kill(node, fault.away)
      case 'terminate':
        this.figures['nodes stopped']++
        return await this.#restart(node, fault.away)
      case 'drain':
        return await this.#drain(node, fault.away)
      case 'pause':
        return await this.#pause(node, fault.lasting)
      case 'sever':
        return await this.#sever(node, fault.how, fault.lasting)
    }
  }

  // --- Nodes.

  async #kill(node: Node, away: number): Promise<void> {
    this.figures['nodes killed']++
    const { ledger } = this.#options
    const [killed, whole] = [ledger.kill(), ledger.split()]
    await node.process.end('SIGKILL')
    killed()
    await sleep(away)
    await this.#startNode(node)
    whole()
  }

  async #restart(node: Node, away: number): Promise<void> {
    await node.process.end('SIGTERM')
    await sleep(away)
    await this.#startNode(node)
  }

  async #drain(node: Node, away: number): Promise<void> {
    this.figures['nodes drained']++
    node.process.hide()
    try {
      await callCommand(node.process.socket, 'drain', {})
    } catch (error) {
      // It may be given up at this very moment, as one that is killed.
      if (this.#outages === 0) this.#options.note(`${node.name} is not drained: ${error}`)
    }
    await this.#restart(node, away)
  }

  async #pause(node: Node, lasting: number): Promise<void> {
    this.figures['nodes paused']++
    const { ledger } = this.#options
    const [over, whole] = [ledger.kill(), ledger.split()]
    const resume = node.process.pause()
    this.#forsake(node, lasting)
    await sleep(lasting)
    resume()
    this.#options.note(`${node.name} goes on`)
    await sleep(LEARNING)
    over()
    whole()
    await untilThere(() => node.process.port)
  }

  async #sever(node: Node, how: Severance, lasting: number): Promise<void> {
    this.figures['nodes severed']++
    this.#outages++
    const { ledger, note } = this.#options
    const [over, whole] = [ledger.kill(), ledger.split()]
    for (const relay of node.relays) {
      if (how === 'silent') relay.silence()
      else relay.goDown()
    }
    if (this.#options.random.next() < 0.5) this.#forsake(node, lasting)
    await sleep(lasting)
    for (const relay of node.relays) relay.comeBack()
    note(`${node.name} has its way to NATS again`)
    await sleep(LEARNING)
    this.#outages--
    over()
    whole()
    await untilThere(() => node.process.port)
  }

  /** Some of its clients have had enough, and go elsewhere. */
  #forsake(node: Node, within: number): void {
    const { random } = this.#options
    const at = this.#nodes.indexOf(node)
    for (const door of this.#doors) {
      if (door.node !== at || random.next() < 0.5) continue
      door.home = (at + random.whole(1, this.#nodes.length - 1)) % this.#nodes.length
      setTimeout(() => door.node === at && door.onForsaken(), random.whole(0, within)).unref()
    }
  }

  async #startNode(node: Node): Promise<void> {
    for (const until = Date.now() + START_PATIENCE; !this.#isOver; ) {
      try {
        await node.process.start()
        break
      } catch (error) {
        // NATS or PostgreSQL may be away; whoever looks after the process starts it again.
        if (Date.now() > until) throw error
        await sleep(START_RETRY)
      }
    }
    this.#options.note(`${node.name} is there`)
  }

  #fenced({ name }: Node): void {
    this.figures['runs given up']++
    this.#options.ledger.kill()()
    this.#options.note(`${name} learns that it was given up`)
  }

  /** A run that begins anew by itself does not come up while what it needs is away. */
  #died(node: Node, reason: string): void {
    const { ledger, note } = this.#options
    ledger.kill()()
    note(`${node.name}: ${reason}`)
    if (this.#outages === 0) ledger.misbehave(`${node.name}: ${reason}`)
    this.#startNode(node).catch((error) => ledger.misbehave(`${node.name}: ${error}`))
  }

  // --- What nodes stand on.

  async #killNats(index: number, away: number): Promise<void> {
    this.figures['NATS killed']++
    const server = this.#nats[index] as NatsServer
    this.#outages++
    const whole = this.#options.ledger.split()
    await server.stop('SIGKILL')
    await sleep(away)
    await server.begin()
    this.#options.note('NATS is back')
    await sleep(LEARNING)
    this.#outages--
    whole()
  }

  async #killDatabase(away: number): Promise<void> {
    this.figures['PostgreSQL killed']++
    this.#outages++
    const { ledger } = this.#options
    const [repaired, whole] = [ledger.failDisk(), ledger.split()]
    await this.#postgres?.stop()
    await sleep(away)
    await this.#postgres?.begin()
    this.#options.note('PostgreSQL is back')
    repaired()
    await sleep(LEARNING)
    whole()
    this.#outages--
  }

  // --- The end.

  async disagreement(online: readonly string[]): Promise<string | undefined> {
    const wanted = online.map((name) => `${name}@${DOMAIN}/here`).toSorted()
    const until = Date.now() + AGREEMENT_PATIENCE
    while (true) {
      const found = await this.#disagreement(wanted).catch((error) => `${error}`)
      if (found === undefined || Date.now() > until) return found
      await sleep(START_RETRY)
    }
  }

  async #disagreement(wanted: readonly string[]): Promise<string | undefined> {
    for (const { name, process } of this.#nodes) {
      const { sessions } = (await callCommand(process.socket, 'session list', {})) as {
        readonly sessions: readonly { readonly jid: string }[]
      }
      const jids = sessions.map(({ jid }) => jid).toSorted()
      if (jids.join() !== wanted.join()) {
        return `${name} has the sessions ${jids.join(' ')}; connected are ${wanted.join(' ')}`
      }
      const { nodes } = (await callCommand(process.socket, 'cluster status', {})) as {
        readonly nodes: readonly {
          readonly name: string
          readonly state: string
          readonly sessions: number
        }[]
      }
      const count = nodes.reduce((sum, { sessions }) => sum + sessions, 0)
      const areAlive = nodes.every(({ state }) => state === 'alive')
      if (nodes.length !== this.#nodes.length || !areAlive || count !== wanted.length) {
        return `to ${name} the cluster is ${JSON.stringify(nodes)}; connected are ${wanted.length}`
      }
    }
    return await this.#leftBehind()
  }

  /** All clients have all that there was for them: nothing is kept for anybody any more. */
  async #leftBehind(): Promise<string | undefined> {
    const rows = await this.#postgres?.run(
      `select 'kept' as as, account, notes from loss.sm_kept
        union all select 'stored', account, notes from loss.offline_message limit 5`,
    )
    if (rows === undefined || rows.length === 0) return undefined
    return `there is left: ${JSON.stringify(rows)}`
  }

  async stop(): Promise<void> {
    this.#isOver = true
    for (const { process } of this.#nodes) await process.end('SIGTERM')
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    await this.#stack.disposeAsync()
  }
}

/** Of NATS only one server at a time: without two of three nothing can be written. */
function partOf(fault: Fault): string {
  if (fault.what === 'kill database') return 'database'
  if (fault.what === 'kill nats') return 'nats'
  return 'node' in fault ? `n${fault.node}` : 'n0'
}

/** The environment of a process whose clock is ahead by so many seconds. */
function clock(ahead: number): Record<string, string> {
  if (ahead === 0 || !canSkew) return {}
  return {
    LD_PRELOAD: LIBRARY,
    FAKETIME: `${ahead > 0 ? '+' : ''}${ahead}s`,
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  }
}
