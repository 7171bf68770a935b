/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open_files.h - how many descriptors this process has: a test takes the number before and after.
 */
#ifndef CAB_TESTS_OPEN_FILES_H
#define CAB_TESTS_OPEN_FILES_H
#include <dirent.h>

/* With one for the folder that is read, and its "." and ".."; the same each time. */
static inline int open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

#endif
