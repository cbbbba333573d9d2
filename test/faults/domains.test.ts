/** Domains that come, go and are removed while nodes are killed. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { callCommand } from '../../src/admin/control-client.ts'
import type { Client } from '../support/client.ts'
import { skipWithoutCluster } from '../support/cluster.ts'
import { emptyDirectory } from '../support/directory.ts'
import { freePort } from '../support/free-port.ts'
import { NatsServer } from '../support/nats.ts'
import { PostgresServer } from '../support/postgres.ts'
import { PASSWORD } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat } from '../support/stanzas.ts'

const VERONA = 'verona.example'
const MANTUA = 'mantua.example'
/** So many that a removal has steps between which it can be killed. */
const ACCOUNTS = 60

type Domain = { readonly name: string; readonly state: string; readonly accounts: number }

/** A node, and what an operator tells it. */
class Node implements AsyncDisposable {
  readonly process: ServerProcess
  readonly socket: string

  constructor(process: ServerProcess, directory: string) {
    this.process = process
    this.socket = join(directory, 'meerkat.sock')
  }

  give(name: string, args: object, onProgress: () => void = () => {}): Promise<unknown> {
    return callCommand(this.socket, name, args, onProgress)
  }

  async domains(): Promise<readonly Domain[]> {
    return ((await this.give('domain list', {})) as { readonly domains: readonly Domain[] }).domains
  }

  async stateOf(domain: string): Promise<string | undefined> {
    return (await this.domains()).find(({ name }) => name === domain)?.state
  }

  connect(localpart: string, domain: string): Promise<Client> {
    return this.process.connect(localpart, 'resource', domain)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process[Symbol.asyncDispose]()
  }
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 30_000
  while (!(await condition())) {
    assert.ok(Date.now() < end, `${what} did not come about`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Accounts at the domain, with a message that waits for each. */
async function fill(node: Node, domain: string): Promise<void> {
  for (let n = 0; n < ACCOUNTS; n++) {
    const jid = `account-${String(n).padStart(3, '0')}@${domain}`
    await node.give('account register', { jid, password: PASSWORD })
  }
  const sender = await node.connect('account-000', domain)
  for (let n = 1; n < ACCOUNTS; n++) {
    sender.send(chat(`account-${String(n).padStart(3, '0')}@${domain}`, `kept ${n}`))
  }
  await sender.roundTrip()
  await sender.leaves()
}

/** Whose message it takes seconds to remove: long enough to kill whoever is at it. */
const DWELLING = "old.account like 'account-030@%'"

/** For `killWhileRemoving`, in a file of SQLite; the undo is for whoever goes on with the removal. */
function dwell(file: string): () => void {
  const run = (sql: string) => {
    using database = new DatabaseSync(file)
    database.exec(`pragma busy_timeout = 10000; ${sql}`)
  }
  // A statement of SQLite has no other way to take its time.
  const tables = ['a', 'b', 'c', 'd', 'e'].map((name) => `sqlite_schema ${name}`)
  const long = `select 1 from ${tables.join()} limit 100000000`
  run(`create trigger dwell before delete on offline_message when ${DWELLING}
    begin select count(*) from (${long}); end`)
  return () => run('drop trigger dwell')
}

/** Kills the node as soon as the removal has got somewhere; that dwells where it cannot have ended. */
async function killWhileRemoving(node: Node, domain: string, kill: () => unknown): Promise<void> {
  let hasBegun = false
  await assert.rejects(
    node.give('domain remove', { domain }, () => {
      if (!hasBegun) kill()
      hasBegun = true
    }),
  )
  assert.ok(hasBegun)
}

/** Rows of any table that name the domain. */
function rowsOf(file: string, domain: string): string[] {
  using database = new DatabaseSync(file, { readOnly: true })
  const tables = database.prepare("select name from sqlite_schema where type = 'table'").all()
  return tables.flatMap(({ name }) =>
    database
      .prepare(`select * from "${name}"`)
      .all()
      .filter((row) => JSON.stringify(row).includes(domain))
      .map((row) => `${name}: ${JSON.stringify(row)}`),
  )
}

test('a server killed while it removes a domain goes on when it starts again', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'meerkat.db')
  const start = async () => new Node(await ServerProcess.start(directory.path), directory.path)
  {
    await using node = await start()
    await node.give('domain add', { domain: VERONA })
    await fill(node, VERONA)
    const goOn = dwell(file)
    await killWhileRemoving(node, VERONA, () => node.process.kill())
    await node.process.ended
    goOn()
  }
  assert.notDeepEqual(rowsOf(file, VERONA), [])

  await using node = await start()
  await until(async () => (await node.stateOf(VERONA)) === undefined, 'the removal')
  assert.deepEqual(rowsOf(file, VERONA), [])
  // Whoever comes there now is somebody else.
  await node.give('domain add', { domain: VERONA })
  await node.give('account register', { jid: `account-001@${VERONA}`, password: PASSWORD })
  const somebody = await node.connect('account-001', VERONA)
  await somebody.becomesAvailable()
  await somebody.receivesNothing({ name: 'message' })
})

test('when the worker that removes a domain is killed, another goes on with it', async () => {
  await using directory = await emptyDirectory()
  const file = join(directory.path, 'meerkat.db')
  const started = ServerProcess.start(
    directory.path,
    'workers = 2\n',
    '',
    `sqlite:${file}`,
    await freePort(),
  )
  await using node = new Node(await started, directory.path)
  await node.give('domain add', { domain: VERONA })
  await fill(node, VERONA)
  const [first] = node.process.children
  const goOn = dwell(file)
  await killWhileRemoving(node, VERONA, () => process.kill(first as number, 'SIGKILL'))
  assert.notDeepEqual(rowsOf(file, VERONA), [])
  goOn()
  await until(async () => rowsOf(file, VERONA).length === 0, 'the removal')
  const isGone = async () => (await node.stateOf(VERONA).catch(() => 'away')) === undefined
  await until(isGone, 'the worker that was killed')
})

const SCHEMA = 'domains'

/** Nodes of one cluster in processes of their own. */
class Stage implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack()
  readonly #nats: NatsServer
  readonly #postgres: PostgresServer
  readonly storage: string

  private constructor(nats: NatsServer, postgres: PostgresServer, storage: string) {
    this.#nats = this.#stack.use(nats)
    this.#postgres = this.#stack.use(postgres)
    this.storage = storage
  }

  static async open(): Promise<Stage> {
    const [nats, postgres] = await Promise.all([NatsServer.start(), PostgresServer.start()])
    return new Stage(nats, postgres, await postgres.createSchema(SCHEMA))
  }

  async node(name: string): Promise<Node> {
    const directory = this.#stack.use(await emptyDirectory())
    const settings = `[cluster]\nnats = ["${this.#nats.url}"]\nnode = "${name}"\nlease = "2s"\n`
    const started = ServerProcess.start(directory.path, settings, '', this.storage)
    return this.#stack.use(new Node(await started, directory.path))
  }

  /** For `killWhileRemoving`. */
  async dwell(): Promise<void> {
    await this.#postgres.run(`create function dwell() returns trigger language plpgsql
      as 'begin perform pg_sleep(3); return old; end'`)
    await this.#postgres.run(`create trigger dwell before delete on ${SCHEMA}.offline_message
      for each row when (${DWELLING}) execute function dwell()`)
  }

  /** Rows of tables that have owners of this domain. */
  async rowsOf(domain: string): Promise<number> {
    const tables = { account: 'domain', offline_message: 'account', archive: 'owner' }
    let rows = 0
    for (const [table, column] of Object.entries(tables)) {
      const where = `${column} like '%${domain}'`
      const sql = `select count(*) as rows from ${SCHEMA}.${table} where ${where}`
      const [found] = await this.#postgres.run(sql)
      rows += Number(found?.rows)
    }
    return rows
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack[Symbol.asyncDispose]()
  }
}

test('domains come and go on all nodes of a cluster, whichever is told', {
  skip: skipWithoutCluster,
}, async () => {
  await using stage = await Stage.open()
  const one = await stage.node('one')
  const two = await stage.node('two')
  await one.give('domain add', { domain: VERONA })
  for (const localpart of ['romeo', 'juliet']) {
    const jid = `${localpart}@${VERONA}`
    await two.give('account register', { jid, password: PASSWORD })
  }
  const romeo = await one.connect('romeo', VERONA)
  const juliet = await two.connect('juliet', VERONA)
  await juliet.becomesAvailable()
  await romeo.roundTrip()
  romeo.send(chat(juliet.bareJid, 'a new town'))
  await juliet.receives({ body: 'a new town' })

  // The other one ends the sessions of both.
  await two.give('domain disable', { domain: VERONA })
  await Promise.all([romeo, juliet].map((client) => client.receivesStreamError('host-gone')))
  assert.equal(await one.stateOf(VERONA), 'disabled')
  await assert.rejects(one.connect('romeo', VERONA), /host-unknown/)
  await one.give('domain enable', { domain: VERONA })
  const again = await two.connect('juliet', VERONA)
  await again.roundTrip()

  // Both are told of the same at once: one of them decides.
  const added = await Promise.allSettled(
    [one, two].map((node) => node.give('domain add', { domain: MANTUA })),
  )
  assert.deepEqual(added.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const changed = await Promise.allSettled([
    one.give('domain remove', { domain: MANTUA }),
    two.give('domain enable', { domain: MANTUA }),
  ])
  assert.equal(changed[0].status, 'fulfilled')
  for (const node of [one, two]) {
    await until(async () => (await node.stateOf(MANTUA)) === undefined, 'the removal')
  }

  // Who joins later finds them.
  const three = await stage.node('three')
  const nurse = await three.connect('romeo', VERONA)
  await nurse.roundTrip()
  await three.give('domain remove', { domain: VERONA })
  await nurse.receivesStreamError('host-gone')
  await again.receivesStreamError('host-gone')
  for (const node of [one, two, three]) assert.equal(await node.stateOf(VERONA), undefined)
  assert.equal(await stage.rowsOf(VERONA), 0)
})

test('when the node that removes a domain is killed, another goes on with it', {
  skip: skipWithoutCluster,
}, async () => {
  await using stage = await Stage.open()
  const one = await stage.node('one')
  const two = await stage.node('two')
  const three = await stage.node('three')
  await one.give('domain add', { domain: VERONA })
  await fill(one, VERONA)
  await stage.dwell()
  await killWhileRemoving(one, VERONA, () => one.process.kill())
  assert.ok((await stage.rowsOf(VERONA)) > 0)
  await assert.rejects(two.connect('account-001', VERONA), /host-unknown/)

  for (const node of [two, three]) {
    await until(async () => (await node.stateOf(VERONA)) === undefined, 'the removal')
  }
  assert.equal(await stage.rowsOf(VERONA), 0)
  await three.give('domain add', { domain: VERONA })
  await two.give('account register', { jid: `account-001@${VERONA}`, password: PASSWORD })
  const somebody = await two.connect('account-001', VERONA)
  await somebody.becomesAvailable()
  await somebody.receivesNothing({ name: 'message' })
})
