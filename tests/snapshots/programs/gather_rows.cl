__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void mul_7x64(__global const int* restrict a0, __global const float* restrict a1, __global float* restrict a2) {
    for (int point = 0; point < 7; point++) {
        for (int chunk = 0; chunk < 4; chunk++) {
            const int i0_ = chunk * 16;
            const int i1_ = a0[point];
            const int i2_ = (i1_ < 0) ? (i1_ + 50) : i1_;
            const float16 t0_ = ((i2_ >= 0) && (i2_ <= 49)) ? vload16(0, a1 + ((((long)i2_) * ((long)64)) + ((long)i0_))) : (float16)(NAN);
            vstore16(t0_ * 2.0f, 0, a2 + ((point * 64) + i0_));
        }
    }
}
