// Gives the shared precompiled header of the test programs a translation unit to belong to.
