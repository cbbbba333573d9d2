/** The stories in which most is kept, with PostgreSQL below. */
import { test } from 'node:test'
import { skipWithoutPostgres } from '../support/postgres.ts'

if (skipWithoutPostgres) {
  test('stories on PostgreSQL', { skip: skipWithoutPostgres }, () => {})
} else {
  process.env.MEERKAT_TEST_STORAGE = 'postgresql'
  await import('../stories/archive.test.ts')
  await import('../stories/auth.test.ts')
  await import('../stories/blocking.test.ts')
  await import('../stories/messages.test.ts')
  await import('../stories/offline.test.ts')
  await import('../stories/privacy.test.ts')
  await import('../stories/registration.test.ts')
  await import('../stories/roster.test.ts')
  await import('../stories/stream-management.test.ts')
}
