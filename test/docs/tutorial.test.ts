/** The test that docs/module-tutorial.md shows; that page and these files are compared elsewhere. */
import '../../examples/tutorial/terms.test.ts'
