/** The tests of what modules keep, with PostgreSQL below. */
import { test } from 'node:test'
import { skipWithoutPostgres } from '../support/postgres.ts'

if (skipWithoutPostgres) {
  test('modules on PostgreSQL', { skip: skipWithoutPostgres }, () => {})
} else {
  process.env.MEERKAT_TEST_STORAGE = 'postgresql'
  await import('../../src/modules/archive/archive.test.ts')
  await import('../../src/modules/archive/store.test.ts')
  await import('../../src/modules/blocking/blocking.test.ts')
  await import('../../src/modules/last.test.ts')
  await import('../../src/modules/offline/offline.property.test.ts')
  await import('../../src/modules/offline/offline.test.ts')
  await import('../../src/modules/presence/presence.test.ts')
  await import('../../src/modules/private/private.test.ts')
  await import('../../src/modules/roster/rosters.test.ts')
  await import('../../src/modules/roster/roster.test.ts')
  await import('../../src/modules/stream-management/kept-messages.test.ts')
  await import('../../src/modules/stream-management/managed-stream.property.test.ts')
  await import('../../src/modules/stream-management/snapshots.test.ts')
  await import('../../src/modules/vcard/vcard.test.ts')
}
