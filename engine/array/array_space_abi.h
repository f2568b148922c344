/* a[i] = first + span * (i / intervals), i from 0, in float64 and then rounded to a's dtype: float32 or float64. a has one
   dimension, and its elements are adjacent. */
int32_t pg_array_linspace(const pg_array *a, double first, double span, double intervals);
