import { NatsServer, skipWithoutNats } from './nats.ts'
import { PostgresServer, skipWithoutPostgres } from './postgres.ts'
import { type Settings, startServer, type TestServer } from './server.ts'

/** For the option of that name of a test. */
export const skipWithoutCluster = skipWithoutNats || skipWithoutPostgres

/** Quicker than is wise for a server that is used. */
const LEASE = '1500ms'

/** Nodes in this process, on a NATS and a PostgreSQL of their own. */
export class TestCluster implements AsyncDisposable {
  readonly nats: NatsServer
  readonly postgres: PostgresServer
  readonly #url: string
  readonly #nodes: TestServer[] = []
  readonly #settings: Settings

  private constructor(nats: NatsServer, postgres: PostgresServer, url: string, settings: Settings) {
    this.nats = nats
    this.postgres = postgres
    this.#url = url
    this.#settings = settings
  }

  static async start(settings: Settings = {}): Promise<TestCluster> {
    const [nats, postgres] = await Promise.all([NatsServer.start(), PostgresServer.start()])
    return new TestCluster(nats, postgres, await postgres.createSchema('cluster'), settings)
  }

  /** One more node, which the others know when this resolves. */
  async node(name: string, settings: Settings = {}): Promise<TestServer> {
    const node = await startServer({
      ...this.#settings,
      ...settings,
      storage: { url: this.#url },
      cluster: { nats: [this.nats.url], node: name, lease: LEASE },
    })
    this.#nodes.push(node)
    await until(() => this.#nodes.every((one) => knows(one, name)))
    return node
  }

  /** All nodes are stopped; NATS begins again without what it had. */
  async forget(): Promise<void> {
    this.#nodes.length = 0
    await this.nats.begin({ isEmpty: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes.reverse()) await node[Symbol.asyncDispose]()
    await this.nats[Symbol.asyncDispose]()
    await this.postgres[Symbol.asyncDispose]()
  }
}

function knows({ server }: TestServer, name: string): boolean {
  return server.cluster.nodes.some(({ node, state }) => node === name && state === 'alive')
}

/** Resolves when `condition` holds; fails after `patience` milliseconds. */
export async function until(
  condition: () => boolean,
  what = 'it',
  patience = 20_000,
): Promise<void> {
  const end = Date.now() + patience
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} did not come about`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
