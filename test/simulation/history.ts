import type { Envelope } from '../../src/core/envelope.ts'
import type { Logger } from '../../src/core/log.ts'
import { type FullJid, parseJid } from '../../src/xmpp/jid.ts'
import { Random } from '../loss/random.ts'
import { type Breach, Ledger } from './ledger.ts'
import { Network, pairOf } from './network.ts'
import { DOMAIN, SimulatedNode } from './node.ts'
import { accountOf, CHAOS, type Happening, type Plan } from './plan.ts'
import { SimulatedRegistry } from './registry.ts'
import { type Process, Scheduler } from './scheduler.ts'
import type { Client, SimulatedSession } from './session.ts'
import { SimulatedStore } from './store.ts'

/** After the last happening: how long until all must be as if nothing had been, milliseconds. */
const HEALING = 22_000
/** How long the last messages may take to those who come for them. */
const COLLECTING = 7_000
/** How long at most what is newer waits for what is older, milliseconds. */
const HELD_BACK = 4_000
const NONE: ReadonlySet<string> = new Set()

export type Report = {
  readonly breaches: ReadonlyMap<Breach, readonly string[]>
  /** What happened when, if it was asked for. */
  readonly log: readonly string[]
  /** Simulated milliseconds, and messages. */
  readonly duration: number
  readonly messages: number
}

/** Plays a plan to its end. */
export async function play(plan: Plan, options: { readonly isLogged?: boolean } = {}) {
  return new History(plan, options.isLogged === true).play()
}

/** One client's place: at most one connection at a time. */
class Place {
  readonly name: string
  readonly #history: History
  session: SimulatedSession | undefined
  node: SimulatedNode | undefined
  ackDelay = 30
  #sent = 0
  /** Of what it sends: begins anew with each connection. */
  prefix = ''
  #connection = 0
  /** A session that it may take up again, and what it got in it. */
  #resumable: string | undefined
  readonly #got = new Set<string>()
  #last: Promise<unknown> | undefined

  constructor(name: string, history: History) {
    this.name = name
    this.#history = history
  }

  open(node: SimulatedNode): void {
    this.#history.note(this.name, 'opens', { node: node.name })
    this.session = undefined
    this.node = node
    this.#resumable = undefined
    this.#got.clear()
    const opening = node.open(this.#jid, 0, this.#connect())
    this.#last = opening
    void opening.then((session) => {
      this.#history.note(this.name, 'is bound', { id: session.id, isClosed: session.isClosed })
      if (this.#last !== opening) void session.end('lost')
      else if (!session.isClosed) this.#begin(session)
    })
  }

  /** Another connection. What a session writes to one that is gone is gone, too. */
  #connect(): Client {
    const connection = ++this.#connection
    return {
      gets: (session, envelope) => this.#gets(connection, session, envelope),
      isAcknowledged: (id) => this.#history.ledger.acknowledged(id),
      ended: (session) => {
        if (this.session === session) this.leave()
      },
    }
  }

  get #jid(): FullJid {
    const jid = parseJid(`${accountOf(this.name)}@${DOMAIN}`).toBare()
    return jid.withResource(this.name.slice(this.name.indexOf('/') + 1))
  }

  #begin(session: SimulatedSession): void {
    this.session = session
    this.prefix = `${session.id}+${this.#connection}`
    this.#sent = 0
  }

  /** The connection is gone, and the client wants its session back. */
  detach(): void {
    const { session, node } = this
    if (session === undefined || node === undefined) return
    this.leave()
    this.#resumable = session.id
    node.process.in(this.#history.latency(), () => node.detach(session))
  }

  /** It comes back for its session, and begins another if that is no more. */
  resume(node: SimulatedNode): void {
    const id = this.#resumable
    if (id === undefined || this.node !== undefined) return
    this.#history.note(this.name, 'resumes', { id, node: node.name })
    this.node = node
    const got = new Set(this.#got)
    const resuming = node.resume(this.#jid, id, this.#connect(), got)
    this.#last = resuming
    void resuming.then((session) => {
      this.#history.note(this.name, session === undefined ? 'is refused' : 'is back', { id })
      // That it has it is known by now.
      if (session !== undefined) for (const one of got) this.#history.ledger.confirmed(one)
      if (this.#last !== resuming) void session?.end('lost')
      else if (session === undefined) this.open(node)
      else if (!session.isClosed) this.#begin(session)
    })
  }

  /** The connection is gone, without a word. */
  leave(): void {
    this.session = undefined
    this.node = undefined
    this.#connection++
    this.#last = undefined
  }

  send(to: string, count: number): void {
    const { session, node } = this
    if (session === undefined || node === undefined) return
    const at = to.indexOf('/')
    const jid = at < 0 ? `${to}@${DOMAIN}` : `${to.slice(0, at)}@${DOMAIN}${to.slice(at)}`
    for (let i = 0; i < count; i++) {
      const id = `${this.prefix}/${++this.#sent}`
      this.#history.ledger.sends(id, to)
      this.#history.stream(`to ${session.id}`, () => session.send(jid, id), node.process)
    }
  }

  #gets(connection: number, session: SimulatedSession, envelope: Envelope): void {
    const { history, node } = { history: this.#history, node: this.node }
    const id = envelope.stanza.id as string
    history.note(session.id, 'writes', { id, notes: envelope.notes })
    history.touches(id, session.run)
    history.stream(session.id, () => {
      // Not the connection any more: whatever was under way is gone.
      if (node === undefined || this.#connection !== connection || session.isClosed) return
      if (this.session !== undefined && this.session !== session) return
      // A session whose node was given up is nobody's any more; what it gets others get as well.
      const isCounted = !envelope.stanza.isError && !history.isGivenUp(session.run)
      this.#got.add(id)
      if (isCounted) history.getsNow(this.name, session, envelope)
      node.process.in(history.random.next() * this.ackDelay, () => {
        if (session.isClosed || this.#connection !== connection) return
        history.note(this.name, 'acknowledges', { id })
        session.acknowledge(envelope)
        if (!envelope.stanza.isError) history.ledger.confirmed(id)
      })
    })
  }
}

class History {
  readonly plan: Plan
  readonly ledger = new Ledger()
  readonly random: Random
  readonly #scheduler = new Scheduler()
  readonly #network: Network
  readonly #registry: SimulatedRegistry
  readonly #store: SimulatedStore
  readonly #nodes = new Map<string, SimulatedNode>()
  readonly #places = new Map<string, Place>()
  /** When what is under way to a client arrives, by session. */
  readonly #streams = new Map<string, number>()
  readonly #log: string[] = []
  readonly #isLogged: boolean
  /** Nothing is away for longer than others hold back what is newer. */
  readonly #isPatient: boolean
  readonly #hasDetached: boolean
  /** Which runs have had a message, by its id. */
  readonly #runs = new Map<string, Set<string>>()
  /** Sessions, and ids of what came to them once it had been given back. */
  readonly #givenBack = new Set<string>()
  /** Runs that went on while others had given them up. */
  readonly #fenced = new Set<string>()
  #isHealing = false

  constructor(plan: Plan, isLogged: boolean) {
    this.plan = plan
    this.#isLogged = isLogged
    this.#isPatient = plan.happenings.every((one) => !('ms' in one) || one.ms < HELD_BACK)
    this.#hasDetached = plan.happenings.some(({ what }) => what === 'detach')
    this.random = new Random(plan.seed ^ 0x5bd1e995)
    this.#network = new Network(this.#scheduler, this.random)
    this.#registry = new SimulatedRegistry(this.#scheduler, this.random, this.#network)
    this.#store = new SimulatedStore(this.#scheduler, this.random)
    for (const name of plan.clients) this.#places.set(name, new Place(name, this))
  }

  /** What is given back by one resource comes to another behind what that has got. */
  isAlone(client: string): boolean {
    const account = accountOf(client)
    return this.plan.clients.filter((other) => accountOf(other) === account).length === 1
  }

  /**
   * What a node had that is lost may come again, for nobody knows whether it was settled; and if others
   * gave it up while it went on, in another order.
   */
  getsNow(client: string, session: SimulatedSession, { stanza, notes }: Envelope): void {
    const id = stanza.id as string
    const runs = this.#runs.get(id) ?? NONE
    // A stream would know what it had; sessions here do once they were without a connection. What was on its
    // way may come behind what is given back as well as before it.
    const here = `${session.id} ${id}`
    if (notes.isRetry === true && this.#hasDetached) this.#givenBack.add(here)
    const mayComeAgain = this.#givenBack.has(here) || [...runs].some((run) => this.isGivenUp(run))
    // One that is stored while its recipient comes, or handed on twice, may come behind a newer one.
    const isLate = notes.offline !== undefined || (notes.hops ?? 0) > 1
    const isOrdered =
      !isLate &&
      !session.isResumed &&
      this.#isPatient &&
      !this.#registry.hasLost &&
      this.isAlone(client) &&
      ![...runs].some((run) => this.#fenced.has(run))
    this.ledger.got(session.id, id, { mayComeAgain, isOrdered })
  }

  /** A run of a node has it in its hands. */
  touches(id: string, run: string): void {
    const runs = this.#runs.get(id) ?? new Set()
    this.#runs.set(id, runs.add(run))
  }

  isGivenUp(run: string): boolean {
    const [node = '', epoch] = run.split('-')
    return Number(epoch) <= (this.#registry.dead.get(node) ?? 0)
  }

  latency(): number {
    return 1 + this.random.next() * 5
  }

  /** What goes over one connection in one direction arrives in order. */
  stream(name: string, work: () => void, process?: Process): void {
    const at = Math.max(this.#scheduler.now + this.latency(), this.#streams.get(name) ?? 0)
    this.#streams.set(name, at)
    this.#scheduler.at(at, work, process)
  }

  async play(): Promise<Report> {
    // A real process would end by it.
    const onRejection = (error: unknown) => this.ledger.breach('crashed', String(error))
    process.on('unhandledRejection', onRejection)
    try {
      return await this.#play()
    } finally {
      process.off('unhandledRejection', onRejection)
    }
  }

  async #play(): Promise<Report> {
    for (const node of this.plan.nodes) this.#start(node)
    for (const happening of this.plan.happenings) {
      this.#scheduler.at(1_000 + happening.at, () => this.#happen(happening))
    }
    await this.#scheduler.run(CHAOS + 1_000)
    this.#heal()
    await this.#scheduler.run(this.#scheduler.now + HEALING)
    for (const place of this.#places.values()) {
      const { session } = place
      place.ackDelay = 30
      if (session === undefined || session.isClosed) place.open(this.#pickNode())
      else if ((session.priority ?? -1) < 0) session.becomesAvailable(0)
    }
    await this.#scheduler.run(this.#scheduler.now + COLLECTING)
    this.#check()
    for (const node of this.#nodes.values()) node.kill()
    const breaches = new Map<Breach, string[]>()
    for (const { breach, detail } of this.ledger.breaches) {
      breaches.set(breach, [...(breaches.get(breach) ?? []), detail])
    }
    const { now } = this.#scheduler
    return { breaches, log: this.#log, duration: now, messages: this.ledger.sent.size }
  }

  // --- What happens.

  note(who: string, what: string, fields?: object): void {
    if (!this.#isLogged) return
    const time = this.#scheduler.now.toFixed(1).padStart(8)
    this.#log.push(`${time} ${who.padEnd(8)} ${what}${fields ? ` ${JSON.stringify(fields)}` : ''}`)
  }

  #logger(node: string): Logger {
    const say = (level: string) => (event: string, fields?: object) => {
      const error = (fields as { error?: unknown } | undefined)?.error
      this.note(node, `${level} ${event}`, {
        ...fields,
        ...(error ? { error: String(error) } : {}),
      })
    }
    const logger: Logger = {
      trace: () => {},
      debug: () => {},
      info: say('info'),
      warn: say('warn'),
      error: say('error'),
      fatal: say('fatal'),
      isEnabled: () => this.#isLogged,
      child: () => logger,
    }
    return logger
  }

  #start(name: string): void {
    const before = this.#nodes.get(name)
    if (before !== undefined && !before.process.isDead) return
    const node = this.#launch(name)
    this.#nodes.set(name, node)
  }

  #launch(name: string): SimulatedNode {
    const ground = {
      scheduler: this.#scheduler,
      network: this.#network,
      registry: this.#registry,
      store: this.#store,
      log: (node: string) => this.#logger(node),
    }
    const node = new SimulatedNode(name, ground, (fenced) => {
      this.#fenced.add(fenced.run)
      this.#kill(fenced)
      this.#scheduler.in(this.random.whole(200, 2_000), () => this.#start(name))
    })
    node.hooks.on('message_routed', (outcome, { envelope }) => {
      const { id, isError } = envelope.stanza
      if (id === undefined || isError) return outcome
      this.touches(id, node.run)
      const { fate, by, reason = outcome.sessions.join(' ') } = outcome
      this.note(name, 'decided', { id, fate, by, reason, retry: envelope.notes.isRetry })
      this.ledger.decided(id, `${name} ${fate} ${by} ${reason}`.trim())
      if (fate === 'bounced') this.ledger.bounced(id)
      return outcome
    })
    this.note(name, 'starts')
    node.process.in(1, () => {
      node.start().catch((error) => {
        // As an operator's service manager does.
        this.note(name, 'cannot start', { error: String(error) })
        this.#kill(node)
        this.#scheduler.in(500, () => this.#start(name))
      })
    })
    return node
  }

  #kill(node: SimulatedNode): void {
    if (node.process.isDead) return
    this.note(node.name, 'dies')
    node.kill()
    for (const place of this.#places.values()) {
      if (place.node !== node) continue
      place.leave()
      this.#comeBack(place)
    }
  }

  #comeBack(place: Place): void {
    this.#scheduler.in(this.random.whole(50, 6_000), () => {
      if (place.node !== undefined) return
      const node = this.#pickNode()
      if (node.isServing) place.open(node)
    })
  }

  #pickNode(): SimulatedNode {
    const serving = [...this.#nodes.values()].filter((node) => node.isServing)
    return this.random.pick(serving.length > 0 ? serving : [...this.#nodes.values()])
  }

  #happen(happening: Happening): void {
    if (this.#isHealing) return
    const { what } = happening
    this.note('', what, happening)
    const later = (ms: number, work: () => void) => this.#scheduler.in(ms, work)
    switch (what) {
      case 'open':
      case 'close':
      case 'vanish':
      case 'detach':
      case 'resume':
      case 'priority':
      case 'send':
      case 'slow':
        return this.#happenTo(this.#places.get(happening.client) as Place, happening)
      case 'crash': {
        const node = this.#nodes.get(happening.node) as SimulatedNode
        this.#kill(node)
        return later(happening.ms, () => this.#start(happening.node))
      }
      case 'leave': {
        const node = this.#nodes.get(happening.node) as SimulatedNode
        if (!node.isServing || node.process.isPaused) return
        return void node.stop().then(() => {
          this.#kill(node)
          later(happening.ms, () => this.#start(happening.node))
        })
      }
      case 'usurp': {
        const node = this.#nodes.get(happening.node) as SimulatedNode
        if (node.process.isDead) return
        this.#nodes.set(happening.node, this.#launch(happening.node))
        // Whoever is not fenced by then is ended by hand.
        return later(5_000, () => this.#kill(node))
      }
      case 'pause': {
        const { process } = this.#nodes.get(happening.node) as SimulatedNode
        process.isPaused = true
        return later(happening.ms, () => process.resume())
      }
      case 'cut':
        this.#network.cut.add(happening.node)
        this.#network.changed()
        return later(happening.ms, () => {
          this.#network.cut.delete(happening.node)
          this.#network.changed()
        })
      case 'part': {
        const pair = pairOf(happening.node, happening.other)
        this.#network.cutPairs.add(pair)
        return later(happening.ms, () => void this.#network.cutPairs.delete(pair))
      }
      case 'down':
        this.#network.isDown = true
        this.#network.changed()
        return later(happening.ms, () => {
          this.#network.isDown = false
          this.#network.changed()
        })
      case 'loss':
        this.#network.loss = happening.percent
        return later(happening.ms, () => {
          this.#network.loss = 0
        })
      case 'delay': {
        const before = 3
        this.#network.delay = happening.most
        return later(happening.ms, () => {
          this.#network.delay = before
        })
      }
      case 'purge':
        return this.#registry.purge()
      case 'reset':
        return this.#registry.reset()
    }
  }

  #happenTo(place: Place, happening: Happening): void {
    switch (happening.what) {
      case 'open': {
        const node = this.#nodes.get(happening.node) as SimulatedNode
        if (node.isServing && !node.process.isPaused) node.process.in(0, () => place.open(node))
        return
      }
      case 'close':
      case 'vanish': {
        const { session, node } = place
        if (session === undefined || node === undefined) return
        const reason = happening.what === 'close' ? 'closed' : 'lost'
        place.leave()
        node.process.in(this.latency(), () => void session.end(reason))
        return
      }
      case 'detach':
        return place.detach()
      case 'resume': {
        const node = this.#nodes.get(happening.node) as SimulatedNode
        if (node.isServing && !node.process.isPaused) node.process.in(0, () => place.resume(node))
        return
      }
      case 'priority': {
        const { session, node } = place
        node?.process.in(this.latency(), () => session?.becomesAvailable(happening.priority))
        return
      }
      case 'send':
        return place.send(happening.to, happening.count)
      case 'slow':
        place.ackDelay = happening.ms
    }
  }

  /** All goes on. */
  #heal(): void {
    this.note('', 'healing')
    this.#isHealing = true
    const network = this.#network
    network.cut.clear()
    network.cutPairs.clear()
    network.isDown = false
    network.loss = 0
    network.delay = 3
    network.changed()
    for (const { process } of this.#nodes.values()) process.resume()
    for (const name of this.plan.nodes) this.#start(name)
  }

  // --- What must be true in the end.

  #check(): void {
    const nodes = [...this.#nodes.values()]
    for (const node of nodes) {
      if (!node.isServing) this.ledger.breach('not started', node.name)
    }
    this.#checkOwners(nodes)
    this.#checkConnected()
    const stored = new Set<string>()
    for (const { stanza } of this.#store.offline.values()) stored.add(idIn(stanza))
    this.ledger.checkFates(stored)
    for (const { stanza, node, epoch } of this.#store.kept.values()) {
      this.ledger.breach('kept', `${idIn(stanza)} by ${node} ${epoch}`)
    }
    for (const run of this.#store.late) {
      this.ledger.breach('late', `${run} has stored something after it was taken over`)
    }
    for (const place of this.#places.values()) {
      const { session } = place
      if (session === undefined || session.isClosed) continue
      for (const [id, { isAcknowledged, fates }] of this.ledger.sent) {
        if (isAcknowledged || !id.startsWith(`${place.prefix}/`)) continue
        this.ledger.breach('unsettled', `${id}: ${fates.join(', ')}`)
      }
    }
    for (const { name, cluster, sessionManager } of nodes) {
      for (const { node, waiting } of cluster.nodes) {
        if (waiting > 0) this.ledger.breach('waiting', `${name} has ${waiting} for ${node}`)
      }
      for (const client of this.plan.clients) {
        const account = `${accountOf(client)}@${DOMAIN}`
        if (sessionManager.leaving(account) === undefined) continue
        this.ledger.breach('held back', `${account} at ${name}`)
      }
    }
  }

  /** Who is connected is known to the node that it is connected to; by `#checkOwners` to the others, too. */
  #checkConnected(): void {
    for (const { name, session, node } of this.#places.values()) {
      if (session === undefined || session.isClosed || node === undefined) continue
      const known = node.sessionManager.sessions.get(session.jid)
      if (known === session) continue
      this.ledger.breach(
        'unknown',
        `${name} at ${node.name}: ${known?.id} instead of ${session.id}`,
      )
    }
  }

  #checkOwners(nodes: readonly SimulatedNode[]): void {
    const owners = new Map<string, string>()
    for (const node of nodes) {
      for (const { jid, id, priority } of node.ownSessions) {
        const before = owners.get(jid.full)
        const owner = `${id} ${priority}`
        if (before !== undefined) this.ledger.breach('owners', `${jid.full}: ${before}, ${owner}`)
        owners.set(jid.full, owner)
      }
    }
    const truth = textOf(owners)
    for (const node of nodes) {
      const known = new Map<string, string>()
      for (const { jid, id, priority } of node.sessionManager.sessions.values()) {
        known.set(jid.full, `${id} ${priority}`)
      }
      const text = textOf(known)
      if (text !== truth) this.ledger.breach('tables', `${node.name}: ${text} instead of ${truth}`)
    }
    const rows = new Map<string, string>()
    for (const [key, value] of this.#registry.rows) {
      if (!key.startsWith('session.')) continue
      const { jid, id, priority } = JSON.parse(value)
      rows.set(jid, `${id} ${priority}`)
    }
    const text = textOf(rows)
    if (text !== truth) this.ledger.breach('rows', `${text} instead of ${truth}`)
  }
}

function textOf(sessions: ReadonlyMap<string, string>): string {
  const all = [...sessions].map(([jid, owner]) => `${jid} ${owner}`)
  return all.sort().join('; ') || 'nobody'
}

function idIn(stanza: string): string {
  return / id='([^']*)'/.exec(stanza)?.[1] ?? stanza
}
