import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askArchive } from '../support/archive.ts'
import type { Client } from '../support/client.ts'
import { startServer } from '../support/server.ts'
import { ServerProcess } from '../support/server-process.ts'
import { chat, presence } from '../support/stanzas.ts'
import { temporaryDirectory } from '../support/storage-backends.ts'
import { enable, handled, handledLater } from '../support/stream-management.ts'

const SETTINGS = '[modules.archive]\nmax_page_size = 1000\n'

async function wholeArchive(client: Client): Promise<readonly string[]> {
  const bodies: string[] = []
  for (let after = ''; ; ) {
    const page = { max: '1000', ...(after !== '' && { after }) }
    const answer = await askArchive(client, { page })
    bodies.push(...answer.bodies)
    if (answer.isComplete) return bodies
    after = answer.last ?? ''
  }
}

test('what was acknowledged is in both archives, once and in order, whenever the server is killed', async () => {
  const rounds = 3
  const perRound = 300
  await using directory = await temporaryDirectory()
  {
    await using server = await startServer({
      data_dir: directory.path,
      storage: { url: `sqlite:${directory.path}/meerkat.db` },
    })
    await server.createAccount('romeo')
    await server.createAccount('juliet')
  }
  const acknowledged: string[] = []
  for (let round = 0; round < rounds; round++) {
    await using server = await ServerProcess.start(directory.path, SETTINGS)
    const juliet = await server.connect('juliet')
    const romeo = await server.connect('romeo')
    romeo.send(presence())
    await romeo.roundTrip()
    await enable(juliet)
    const lines = Array.from({ length: perRound }, (_, n) => `${round}: line ${n}`)
    for (const line of lines) juliet.send(chat('romeo@im.example.com', line))
    // In the midst of it, at another place each time.
    const until = (perRound * (round + 1)) / (rounds + 1)
    let h = await handled(juliet)
    while (h < until) h = await handledLater(juliet)
    await server.kill()
    acknowledged.push(...lines.slice(0, h))
  }
  await using server = await ServerProcess.start(directory.path, SETTINGS)
  for (const localpart of ['romeo', 'juliet']) {
    const kept = await wholeArchive(await server.connect(localpart))
    assert.equal(new Set(kept).size, kept.length)
    const inTheOrderOfTheArchive = kept.filter((line) => acknowledged.includes(line))
    assert.deepEqual(inTheOrderOfTheArchive, acknowledged, localpart)
  }
})
